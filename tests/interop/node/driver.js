// Real BullMQ as a long-lived process that tests talk to: one JSON object per line in, one out.
//
//   in   {"id": 1, "method": "add", "args": {"queue": "q", "name": "echo", "data": {}}}
//   out  {"id": 1, "value": ...}  or  {"id": 1, "error": {"name": "Error", "message": "..."}}
//
// Arguments of the process: the server's unix socket, and the BullMQ major to load (6 or 5).
// Requests run side by side, so that a `waitUntilFinished` does not hold up an `add`.

import { createInterface } from "node:readline";

import { Administration } from "./administration.js";
import { Board } from "./board.js";
import { Observers } from "./observers.js";
import { Producers } from "./producers.js";
import { Replay } from "./replay.js";
import { Workers } from "./workers.js";

const [socketPath, major] = process.argv.slice(2);
const bullmq = await import(major === "5" ? "bullmq5" : "bullmq");
const connection = { path: socketPath, maxRetriesPerRequest: null };

const producers = new Producers(bullmq, connection);
const rooms = [
  producers,
  new Workers(bullmq, connection),
  new Observers(bullmq, connection, producers),
  new Administration(bullmq, producers),
  new Board(producers),
  new Replay(bullmq, connection, producers),
];

/** Close everything that was opened; the next test starts from nothing. */
async function reset() {
  await Promise.all(rooms.map((room) => room.reset()));
}

async function answer({ id, method, args }) {
  try {
    const room = rooms.find((candidate) => typeof candidate[method] === "function");
    if (method !== "reset" && room === undefined) throw new Error(`no method ${method}`);
    const value = method === "reset" ? await reset() : await room[method](args ?? {});
    return { id, value: value ?? null };
  } catch (error) {
    return { id, error: { name: error.name, message: error.message } };
  }
}

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

say({ ready: process.version });
for await (const line of createInterface({ input: process.stdin })) {
  answer(JSON.parse(line)).then(say);
}
await reset();
process.exit(0);
