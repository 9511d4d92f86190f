// BullMQ's `addBulk`. Arguments: URL of a unix socket, queue, jobs. PER_CALL splits them.
const { Queue } = require('bullmq');

const [url, name, jobs] = process.argv.slice(2);
const path = url.replace('unix://', '').split('?')[0];

async function main() {
  const queue = new Queue(name, { connection: { path } });
  await queue.add('job', { n: -1 });
  const start = process.hrtime.bigint();
  const step = Number(process.env.PER_CALL || jobs);
  for (let from = 0; from < Number(jobs); from += step) {
    const bulk = [];
    for (let n = from; n < from + step && n < Number(jobs); n++) {
      bulk.push({ name: 'job', data: { n } });
    }
    await queue.addBulk(bulk);
  }
  process.stdout.write(String(Number(process.hrtime.bigint() - start) / 1e9));
  await queue.close();
}

main();
