// What a dashboard or a waiting client sees: QueueEvents, jobs, states, logs, counts.

const EVENTS = [
  "added", "waiting", "active", "delayed", "progress", "completed", "failed", "stalled",
  "retries-exhausted", "drained", "duplicated", "removed", "waiting-children",
];

export class Observers {
  constructor(bullmq, connection, producers) {
    this.bullmq = bullmq;
    this.connection = connection;
    this.producers = producers;
    this.listeners = new Map();
  }

  /** Listen from the stream's beginning, so that nothing written before is missed. */
  async listen({ queue, prefix = "bull", events: more = [] }) {
    const events = new this.bullmq.QueueEvents(queue, {
      connection: this.connection,
      prefix,
      lastEventId: "0-0",
    });
    const seen = [];
    const errors = [];
    for (const event of [...EVENTS, ...more]) {
      events.on(event, (fields) => seen.push({ event, ...(event === "drained" ? {} : fields) }));
    }
    events.on("error", (error) => errors.push(error.message));
    this.listeners.set(queue, { events, seen, errors });
    await events.waitUntilReady();
  }

  /** What was heard, once `count` events of the kind `of` are among it. */
  async heard({ queue, of, count = 1 }) {
    const { events, seen, errors } = this.listeners.get(queue);
    const enough = () => seen.filter(({ event }) => event === of).length >= count;
    while (of !== undefined && !enough()) {
      await new Promise((resolve) => events.once(of, resolve));
    }
    return { seen, errors };
  }

  async waitUntilFinished({ queue, prefix, id, timeoutMs = 20_000 }) {
    if (!this.listeners.has(queue)) await this.listen({ queue, prefix });
    const job = await (await this.producers.queueOf(queue, prefix)).getJob(id);
    return job.waitUntilFinished(this.listeners.get(queue).events, timeoutMs);
  }

  async getJob({ queue, prefix, id }) {
    const opened = await this.producers.queueOf(queue, prefix);
    const job = await opened.getJob(id);
    if (!job) return null;
    const { logs } = await opened.getJobLogs(id);
    return { ...job.toJSON(), state: await job.getState(), logs };
  }

  async counts({ queue, prefix }) {
    return (await this.producers.queueOf(queue, prefix)).getJobCounts();
  }

  async jobs({ queue, prefix, types }) {
    const found = await (await this.producers.queueOf(queue, prefix)).getJobs(types);
    return found.map((job) => job.id);
  }

  async workers({ queue, prefix }) {
    const found = await (await this.producers.queueOf(queue, prefix)).getWorkers();
    return found.map(({ name, rawname }) => ({ name, rawname }));
  }

  async schedulers({ queue, prefix }) {
    return (await this.producers.queueOf(queue, prefix)).getJobSchedulers();
  }

  async reset() {
    const open = [...this.listeners.values()];
    this.listeners.clear();
    await Promise.all(open.map(({ events }) => events.close()));
  }
}
