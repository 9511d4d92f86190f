// Adding: one Queue per queue name, made when first asked for, one FlowProducer.

export class Producers {
  constructor(bullmq, connection) {
    this.bullmq = bullmq;
    this.connection = connection;
    this.queues = new Map();
    this.flows = null;
  }

  /** Not a method of the driver: the Queue of this name, ready. */
  async queueOf(queue, prefix = "bull") {
    const key = `${prefix}:${queue}`;
    if (!this.queues.has(key)) {
      this.queues.set(key, new this.bullmq.Queue(queue, { connection: this.connection, prefix }));
    }
    const opened = this.queues.get(key);
    await opened.waitUntilReady();
    return opened;
  }

  async add({ queue, prefix, name, data, opts }) {
    const job = await (await this.queueOf(queue, prefix)).add(name, data, opts);
    return job.id;
  }

  async addBulk({ queue, prefix, jobs }) {
    const added = await (await this.queueOf(queue, prefix)).addBulk(jobs);
    return added.map((job) => job.id);
  }

  async addFlow({ flow }) {
    this.flows ??= new this.bullmq.FlowProducer({ connection: this.connection });
    const node = await this.flows.add(flow);
    return { id: node.job.id, children: (node.children ?? []).map((child) => child.job.id) };
  }

  /** The next `count` times of cron patterns, each parsed anew, as BullMQ does it. */
  async cronTimes({ cases, count }) {
    const { CronExpressionParser } = await import("cron-parser");
    return cases.map(({ pattern, tz, at }) => {
      const after = (ms) =>
        CronExpressionParser.parse(pattern, { tz, currentDate: new Date(ms) }).next().getTime();
      const times = [after(at)];
      while (times.length < count) times.push(after(times.at(-1)));
      return times;
    });
  }

  async upsertScheduler({ queue, prefix, id, repeat, template }) {
    const opened = await this.queueOf(queue, prefix);
    const job = await opened.upsertJobScheduler(id, repeat, template);
    return job?.id;
  }

  async reset() {
    const open = [...this.queues.values(), this.flows].filter(Boolean);
    this.queues.clear();
    this.flows = null;
    await Promise.all(open.map((one) => one.close()));
  }
}
