// Bull Board without its web server: the routes of its API, called as the page calls them.

export class Board {
  constructor(producers) {
    this.producers = producers;
    this.boards = new Map();
  }

  /** What the API answers to one request: its status and its body. */
  async board({ queue, verb = "get", route, params = {}, query = {}, body = {} }) {
    const { routes, queues } = await this.boardOf(queue);
    const found = routes.find((one) => one.method === verb && one.route === route);
    if (found === undefined) throw new Error(`no route ${verb} ${route}`);
    const request = { queues, query, body, params: { queueName: queue, ...params }, headers: {} };
    const answer = await found.handler(request);
    return { status: answer.status ?? 200, body: answer.body };
  }

  async boardOf(queue) {
    if (!this.boards.has(queue)) {
      const { createBullBoard } = await import("@bull-board/api");
      const { BullMQAdapter } = await import("@bull-board/api/bullMQAdapter");
      const server = new RecordedServer();
      const adapter = new BullMQAdapter(await this.producers.queueOf(queue));
      createBullBoard({ queues: [adapter], serverAdapter: server });
      this.boards.set(queue, server);
    }
    return this.boards.get(queue);
  }

  async reset() {
    this.boards.clear();
  }
}

/** The adapter that Bull Board wants for a web server: it keeps the routes instead of serving them. */
class RecordedServer {
  setQueues(queues) {
    this.queues = queues;
    return this;
  }

  setApiRoutes(routes) {
    this.routes = routes;
    return this;
  }

  setViewsPath() {
    return this;
  }

  setStaticPath() {
    return this;
  }

  setEntryRoute() {
    return this;
  }

  setErrorHandler() {
    return this;
  }

  setUIConfig() {
    return this;
  }
}
