// Says that it runs, and where; the first time it then hangs, any further time it ends at once.
const fs = require('node:fs');

module.exports = async (job) => {
  const line = `${process.pid} ${process.hrtime.bigint()}\n`;
  fs.appendFileSync(job.data.path, line);
  if (fs.readFileSync(job.data.path, 'utf8') === line) await new Promise(() => setInterval(() => {}, 1000));
};
