// Node workers, with processors that mirror tests/interop/processors.py name by name.

import { setTimeout as sleep } from "node:timers/promises";

const processors = (bullmq) => ({
  echo: async (job) => job.data,
  nothing: async () => {},
  fail: async (job) => {
    throw new Error(job.data.message ?? "boom");
  },
  "fail-until": async (job) => {
    if (job.attemptsMade + 1 < job.data.succeed_at) throw new Error(`attempt ${job.attemptsMade + 1}`);
    return job.attemptsMade + 1;
  },
  unrecoverable: async () => {
    throw new bullmq.UnrecoverableError("no use");
  },
  log: async (job) => {
    for (let row = 1; row <= 5; row += 1) await job.log(`row ${row}`);
  },
  progress: async (job) => {
    await job.updateProgress(job.data.progress);
    return "reported";
  },
  "update-data": async (job) => {
    if (job.attemptsMade === 0) {
      await job.updateData({ ...job.data, step: 2 });
      throw new Error("first attempt");
    }
    return job.data;
  },
  slow: async (job) => {
    await sleep(job.data.ms);
    return "slept";
  },
  "ask-for-time": async (job, token) => {
    await job.moveToDelayed(Date.now() + job.data.ms, token);
    throw new bullmq.DelayedError();
  },
  "children-values": async (job) => job.getChildrenValues(),
  "ignored-failures": async (job) => job.getIgnoredChildrenFailures(),
  "wait-for-children": async (job, token) => {
    const { processed } = await job.getDependenciesCount();
    if (processed > 0) return job.getChildrenValues();
    while ((await job.getDependenciesCount()).unprocessed === 0) await sleep(10);
    await job.moveToWaitingChildren(token);
    throw new bullmq.WaitingChildrenError();
  },
  telemetry: async (job) => job.opts.telemetry ?? null,
  "hold-queue": async (job, _token, worker) => {
    await worker.rateLimit(job.data.ms);
    throw new bullmq.RateLimitError();
  },
});

export class Workers {
  constructor(bullmq, connection) {
    this.bullmq = bullmq;
    this.connection = connection;
    this.workers = new Map();
    this.started = new Map();
  }

  /**
   * Start a worker named `name`; it notes the id and the time (ms) of every start of a job.
   *
   * `strategies`: name of a back-off strategy → its ms for every attempt made, or 0, or -1.
   */
  async startWorker({ queue, prefix = "bull", name = "node", options = {}, strategies = {} }) {
    const table = processors(this.bullmq);
    const started = [];
    const process = async (job, token) => {
      started.push({ id: job.id, name: job.name, at: Date.now() });
      return table[job.name](job, token, worker);
    };
    const worker = new this.bullmq.Worker(queue, process, {
      connection: this.connection,
      prefix,
      name,
      settings: {
        backoffStrategy: (made, type) => strategies[type] * (strategies[type] > 0 ? made : 1),
      },
      ...options,
    });
    worker.on("error", (error) => console.error(`worker ${name}: ${error.message}`));
    this.workers.set(name, worker);
    this.started.set(name, started);
    await worker.waitUntilReady();
  }

  async startedJobs({ name = "node" }) {
    return this.started.get(name);
  }

  async stopWorker({ name = "node" }) {
    const worker = this.workers.get(name);
    this.workers.delete(name);
    await worker.close();
  }

  /** End the next job of a queue under each prefix, without a worker's loop around it. */
  async endJobs({ queue, jobs }) {
    for (const { prefix, fails } of jobs) {
      const options = { connection: this.connection, prefix, autorun: false };
      const worker = new this.bullmq.Worker(queue, null, options);
      const job = await worker.getNextJob("token", { block: false });
      if (fails) await job.moveToFailed(new Error("boom"), "token", false);
      else await job.moveToCompleted(1, "token", false);
      await worker.close();
    }
  }

  async reset() {
    const open = [...this.workers.values()];
    this.workers.clear();
    this.started.clear();
    await Promise.all(open.map((worker) => worker.close(true)));
  }
}
