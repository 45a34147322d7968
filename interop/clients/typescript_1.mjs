// The TypeScript SDK, line 1 (`@modelcontextprotocol/sdk`)
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { elicited, serve, target } from './bridge.mjs';

const [command, ...args] = target.command;
const transports = {
  stdio: () => new StdioClientTransport({ command, args, env: target.environment }),
  http: () => new StreamableHTTPClientTransport(new URL(target.http)),
  sse: () => new SSEClientTransport(new URL(target.sse)),
};

const client = new Client({ name: 'interop', version: '1' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, elicited);
await client.connect(transports[target.transport]());
await serve(client, {
  call: (params, signal) => client.callTool(params, undefined, { signal }),
  read: (params, signal) => client.readResource(params, { signal }),
});
process.exit();
