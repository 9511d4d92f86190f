// A BullMQ worker of a mixed fleet, as a process of its own that may be killed at any moment.
//
// Argument: JSON {socket, queue, name, ledger, kinds, options}; `kinds` has of every kind of job what
// it does to itself and in how many of its starts. What happens is appended to the file `ledger`,
// one JSON line {table, row} before the job goes on, so that a killed process has told all it did.

import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { UnrecoverableError, Worker } from "bullmq";

const { socket, queue, name, ledger, kinds, options } = JSON.parse(process.argv[2]);

const now = () => performance.timeOrigin + performance.now();
const note = (table, ...row) => appendFileSync(ledger, `${JSON.stringify({ table, row })}\n`);

async function processor(job) {
  const { ticket, sides_s: [before_s, after_s] } = job.data;
  const attempt = job.attemptsStarted;
  note("started", ticket, job.id, attempt, process.pid, now());
  await sleep(before_s * 1000);
  const { harm, harmed } = kinds[job.name];
  if (attempt <= harmed) {
    note("declared", ticket, attempt, harm, now());
    if (harm === "give-up") throw new UnrecoverableError("as declared");
    throw new Error("as declared");
  }
  note("effect", ticket, attempt, 1, now());
  await sleep(after_s * 1000);
  note("finished", ticket, attempt, now());
  return { ticket, attempt };
}

const worker = new Worker(queue, processor, {
  connection: { path: socket, maxRetriesPerRequest: null },
  name,
  ...options,
});
worker.on("error", (error) => console.error(error.message));
process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
await worker.waitUntilReady();
console.log("ready");
