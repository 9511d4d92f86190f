// What an operator does from a dashboard: pause, limits, remove, retry, promote.

export class Administration {
  constructor(bullmq, producers) {
    this.bullmq = bullmq;
    this.producers = producers;
  }

  /** Names of the methods that a class of BullMQ and those it extends have. */
  async methodNames({ kind }) {
    const names = new Set(Object.getOwnPropertyNames(this.bullmq[kind]));
    ["length", "name", "prototype"].forEach((name) => names.delete(name));
    let one = this.bullmq[kind].prototype;
    while (one && one.constructor.name !== "EventEmitter" && one !== Object.prototype) {
      Object.getOwnPropertyNames(one).forEach((name) => names.add(name));
      one = Object.getPrototypeOf(one);
    }
    return [...names].sort();
  }

  async jobFields({ queue, prefix }) {
    const owner = await this.producers.queueOf(queue, prefix);
    return Object.keys(new this.bullmq.Job(owner, "n", {})).sort();
  }

  async pause({ queue, prefix }) {
    await (await this.producers.queueOf(queue, prefix)).pause();
  }

  async resume({ queue, prefix }) {
    await (await this.producers.queueOf(queue, prefix)).resume();
  }

  async setGlobalConcurrency({ queue, prefix, concurrency }) {
    await (await this.producers.queueOf(queue, prefix)).setGlobalConcurrency(concurrency);
  }

  /** One method of a job, such as `remove`, `retry`, `promote`, `changePriority`. */
  async onJob({ queue, prefix, id, act, args = [] }) {
    const job = await (await this.producers.queueOf(queue, prefix)).getJob(id);
    return job[act](...args);
  }

  /** One method of the queue, such as `drain`, `clean`, `obliterate`, `getMetrics`. */
  async onQueue({ queue, prefix, act, args = [] }) {
    return (await this.producers.queueOf(queue, prefix))[act](...args);
  }

  /** One event of the caller's own, by a producer of its own. */
  async publishEvent({ queue, prefix = "bull", event }) {
    const { connection } = this.producers;
    const producer = new this.bullmq.QueueEventsProducer(queue, { connection, prefix });
    try {
      await producer.publishEvent(event);
    } finally {
      await producer.close();
    }
  }

  async reset() {}
}
