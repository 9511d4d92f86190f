// BullMQ's Worker with a function: every job on this process's own event loop.
// node bullmq_inline.mjs <socket path> <queue> <concurrency>
import { Worker } from 'bullmq';

const [socket, queue, concurrency] = process.argv.slice(2);
const worker = new Worker(queue, async () => null, {
  connection: { path: socket, maxRetriesPerRequest: null },
  concurrency: Number(concurrency),
});
worker.on('error', (error) => {
  console.error('ERROR', error);
  process.exit(1);
});
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
