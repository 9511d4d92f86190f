// A BullMQ worker of one job at a time, in a child process or inline, of a lock and an interval
// of so many milliseconds (BullMQ's default for both: 30000).
// node recovery_bullmq.mjs <socket path> <queue> <sandboxed|inline> <milliseconds>
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'bullmq';

const [socket, queue, kind, interval] = process.argv.slice(2);
const file = fileURLToPath(new URL('recovery_job.cjs', import.meta.url));
const processor = kind === 'inline' ? createRequire(import.meta.url)(file) : file;
const worker = new Worker(queue, processor, {
  connection: { path: socket, maxRetriesPerRequest: null },
  lockDuration: Number(interval),
  stalledInterval: Number(interval),
});
worker.on('error', (error) => console.error('ERROR', error));
