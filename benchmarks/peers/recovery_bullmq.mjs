// A BullMQ worker of one job at a time, in a child process or inline, with BullMQ's defaults.
// node recovery_bullmq.mjs <socket path> <queue> <sandboxed|inline> <0, or lock and stalled ms>
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'bullmq';

const [socket, queue, kind, interval] = process.argv.slice(2);
const file = fileURLToPath(new URL('recovery_job.cjs', import.meta.url));
const processor = kind === 'inline' ? createRequire(import.meta.url)(file) : file;
const shorter = Number(interval)
  ? { lockDuration: Number(interval), stalledInterval: Number(interval) }
  : {};
const worker = new Worker(queue, processor, {
  connection: { path: socket, maxRetriesPerRequest: null },
  ...shorter,
});
worker.on('error', (error) => console.error('ERROR', error));
