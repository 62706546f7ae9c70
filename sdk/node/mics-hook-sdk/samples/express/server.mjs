// Hook server on Express, beside routes of its own. Settings: ../tenant.mjs
import { once } from 'node:events';
import express from 'express';
import { micsHookExpress } from '@mics/node-hook-sdk';
import { options, run } from '../tenant.mjs';

await run(async (port) => {
  const app = express();
  // Before any body parser: signatures are checked over the bytes received.
  app.use(micsHookExpress(options));
  app.use(express.json());
  app.get('/healthz', (req, res) => res.send('ok'));
  const server = app.listen(port);
  await once(server, 'listening');
  return server.address().port;
});
