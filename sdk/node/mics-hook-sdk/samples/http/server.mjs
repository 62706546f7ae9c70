// Hook server on Node's http. Settings: ../tenant.mjs
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createMicsHookServer } from '@mics/node-hook-sdk';
import { options, run } from '../tenant.mjs';

await run(async (port) => {
  const server = createServer(createMicsHookServer(options)).listen(port);
  await once(server, 'listening');
  return server.address().port;
});
