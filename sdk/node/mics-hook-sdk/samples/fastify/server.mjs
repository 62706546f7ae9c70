// Hook server on Fastify, beside routes of its own. Settings: ../tenant.mjs
import Fastify from 'fastify';
import { micsHookFastify } from '@mics/node-hook-sdk';
import { options, run } from '../tenant.mjs';

await run(async (port) => {
  const app = Fastify();
  app.register(micsHookFastify(options));
  app.get('/healthz', async () => 'ok');
  await app.listen({ port, host: '::' });
  return app.server.address().port;
});
