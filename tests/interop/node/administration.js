// What an operator does from a dashboard: pause, limits, remove, retry, promote.

export class Administration {
  constructor(producers) {
    this.producers = producers;
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

  async reset() {}
}
