// The TypeScript SDK, line 2 (`@modelcontextprotocol/client`)
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { elicited, serve, target } from './bridge.mjs';

const [command, ...args] = target.command;
const transports = {
  stdio: () => new StdioClientTransport({ command, args, env: target.environment }),
  http: () => new StreamableHTTPClientTransport(new URL(target.http)),
  sse: () => new SSEClientTransport(new URL(target.sse)),
};

const options = { capabilities: { elicitation: {} }, versionNegotiation: { mode: target.mode } };
const client = new Client({ name: 'interop', version: '1' }, options);
client.setRequestHandler('elicitation/create', elicited);
await client.connect(transports[target.transport]());
await serve(client, {
  call: (params, signal) => client.callTool(params, { signal }),
  read: (params, signal) => client.readResource(params, { signal }),
});
process.exit();
