// One step at a time of the differential test, at a time of the test's choosing: BullMQ asks
// `Date.now` what time it is, which answers `now` of the latest step for the rest of the process.
//
// A claim is a job that a worker without a loop has fetched; it is known by its lock token.

const OPTIONS = {
  autorun: false,
  name: "worker",
  lockDuration: 30 * 86_400_000,
  stalledInterval: 30 * 86_400_000,
  maxStalledCount: 1,
  metrics: { maxDataPoints: 5 },
};

export class Replay {
  constructor(bullmq, connection, producers) {
    this.bullmq = bullmq;
    this.connection = connection;
    this.producers = producers;
    this.workers = new Map();
    this.claims = new Map();
  }

  /** Run one step; `do` names a method below, which gets the queue and the step's arguments. */
  async replay({ now, act, queue, args }) {
    Date.now = () => now;
    return this[`do_${act}`](queue, args);
  }

  /** Have the queues open, so that nothing of that happens within a step. */
  async openQueues({ queues }) {
    this.claims.clear();
    await Promise.all(queues.flatMap((queue) => [this.queueOf(queue), this.workerOf(queue)]));
  }

  queueOf(queue) {
    return this.producers.queueOf(queue);
  }

  async workerOf(queue) {
    if (!this.workers.has(queue)) {
      const options = { connection: this.connection, ...OPTIONS };
      this.workers.set(queue, new this.bullmq.Worker(queue, null, options));
    }
    const worker = this.workers.get(queue);
    await worker.waitUntilReady();
    return worker;
  }

  async do_add(queue, { jobs }) {
    const opened = await this.queueOf(queue);
    const said = jobs.map(({ data, ...job }) => ({ ...job, data: data ?? undefined }));
    if (said.length > 1) return (await opened.addBulk(said)).map((job) => job.id);
    const [{ name, data, opts }] = said;
    return [(await opened.add(name, data, opts)).id];
  }

  async do_flow(_queue, { flow }) {
    await this.producers.addFlow({ flow });
  }

  async do_schedule(queue, { id, repeat, template }) {
    await (await this.queueOf(queue)).upsertJobScheduler(id, repeat, template);
  }

  async do_claim(queue, { tokens }) {
    const worker = await this.workerOf(queue);
    const claimed = [];
    for (const token of tokens) {
      worker.limitUntil = 0; // what it remembers of a limit that the test may have taken away
      const job = await worker.getNextJob(token, { block: false });
      if (!job) break;
      this.claims.set(token, job);
      const { id, attemptsMade, attemptsStarted, deferredFailure } = job;
      claimed.push([id, attemptsMade, attemptsStarted, deferredFailure ?? null]);
    }
    return claimed;
  }

  async do_complete(_queue, { token, value }) {
    await this.claims.get(token).moveToCompleted(value ?? undefined, token, false);
  }

  async do_fail(_queue, { token, message, stack, final }) {
    const error = new (final ? this.bullmq.UnrecoverableError : Error)(message);
    error.stack = stack || undefined;
    await this.claims.get(token).moveToFailed(error, token, false);
  }

  async do_delay(_queue, { token, ms }) {
    await this.claims.get(token).moveToDelayed(Date.now() + ms, token);
  }

  async do_give_back(_queue, { token }) {
    await this.claims.get(token).moveToWait(token);
  }

  async do_hold(queue, { token, ms }) {
    const job = this.claims.get(token);
    await job.moveToWait(token);
    await (await this.queueOf(queue)).rateLimit(ms);
  }

  async do_wait_for_children(_queue, { token }) {
    const moved = await this.claims.get(token).moveToWaitingChildren(token);
    if (!moved) throw new Error("has no children to wait for");
  }

  async do_report(_queue, { token, progress, lines, data }) {
    const job = this.claims.get(token);
    if (progress !== null) await job.updateProgress(progress);
    for (const line of lines) await job.log(line);
    if (data !== null) await job.updateData(data);
  }

  async do_sweep(queue) {
    await (await this.workerOf(queue)).moveStalledJobsToWait();
  }

  async do_on_queue(queue, { method, args }) {
    return (await this.queueOf(queue))[method](...args);
  }

  async do_on_job(queue, { id, method, args }) {
    const job = await (await this.queueOf(queue)).getJob(id);
    if (!job) throw new Error("Missing key for job");
    return job[method](...args);
  }

  async reset() {
    const open = [...this.workers.values()];
    this.workers.clear();
    this.claims.clear();
    await Promise.all(open.map((worker) => worker.close(true)));
  }
}
