// BullMQ's Worker with a file: every job in one of as many child processes as there is concurrency.
// node bullmq_sandboxed.mjs <socket path> <queue> <children> <processor file>
import { fileURLToPath } from 'node:url';
import { Worker } from 'bullmq';

const [socket, queue, children, processor] = process.argv.slice(2);
const worker = new Worker(queue, fileURLToPath(new URL(processor, import.meta.url)), {
  connection: { path: socket, maxRetriesPerRequest: null },
  concurrency: Number(children),
  useWorkerThreads: false,
});
worker.on('error', (error) => {
  console.error('ERROR', error);
  process.exit(1);
});
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
