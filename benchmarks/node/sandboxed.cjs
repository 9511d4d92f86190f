// Works one queue with BullMQ's sandboxed processors until it is empty.
// node sandboxed.cjs <socket path> <queue> <children>; bullmq comes from NODE_PATH.
const path = require('node:path');
const { Queue, Worker } = require('bullmq');

const [socket, name, children] = process.argv.slice(2);
const connection = { path: socket, maxRetriesPerRequest: null };

async function main() {
  const queue = new Queue(name, { connection });
  const worker = new Worker(name, path.join(__dirname, 'noop.cjs'), {
    connection,
    concurrency: Number(children),
  });
  worker.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  for (;;) {
    const counts = await queue.getJobCounts('waiting', 'active');
    if (counts.waiting + counts.active === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await worker.close();
  await queue.close();
}

main();
