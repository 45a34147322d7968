// Lets `typescript_client.py` play the scenarios through a client that runs here: a line of JSON for each request and answer.
import { createInterface } from 'node:readline';

export const target = JSON.parse(process.argv[2]);

export const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// What a person answers; the question is passed on.
export const elicited = (request) => {
  tell({ asked: request.params.message });
  return { action: 'accept', content: target.answer };
};

// A failed fetch tells why only in its cause.
const words = (error) => (error.cause ? `${error}, since ${error.cause}` : String(error));

// Serves a connected client until the input ends. `call` and `read` get an AbortSignal.
export async function serve(client, { call, read }) {
  const running = new Map();
  const actions = {
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: ({ tool, arguments: given }, signal) => call({ name: tool, arguments: given }, signal),
    read: ({ uri }, signal) => read({ uri }, signal),
  };
  await client.listTools(); // with the output schemas at hand, the client holds results to them
  tell({ ready: true, revision: client.getNegotiatedProtocolVersion?.() ?? null });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (request.cancel !== undefined) {
      running.get(request.cancel)?.abort('given up');
      continue;
    }
    const controller = new AbortController();
    running.set(request.id, controller);
    actions[request.do](request, controller.signal)
      .then((value) => tell({ id: request.id, value }), (error) => tell({ id: request.id, error: words(error) }))
      .finally(() => running.delete(request.id));
  }
  await client.close();
}
