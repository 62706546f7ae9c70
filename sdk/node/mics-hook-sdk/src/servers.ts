/** The hooks behind Node's http server, Express and Fastify. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HookHttpResponse, MicsHookServerOptions } from './hooks.js';
import { CONTENT_TYPE, CONTENT_TYPES, HookDispatcher, hookOf, HOOKS } from './hooks.js';

/** For `http.createServer`. Answers 404 for other paths; never rejects. */
export function createMicsHookServer(
  options: MicsHookServerOptions,
): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
  const dispatcher = new HookDispatcher(options);
  return (req, res) => serve(dispatcher, req, res);
}

/** For `app.use(...)`, before any body parser. Other paths go on to the next middleware. */
export function micsHookExpress(
  options: MicsHookServerOptions,
): (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void {
  const dispatcher = new HookDispatcher(options);
  return (req, res, next) => {
    if (!hookOf(req.url ?? '')) return next();
    serve(dispatcher, req, res).catch(next);
  };
}

/** The part of Fastify that the plugin uses. */
interface FastifyLike {
  addContentTypeParser(type: string[], options: { parseAs: 'buffer'; bodyLimit: number }, parser: unknown): unknown;
  post(path: string, options: { bodyLimit: number }, handler: unknown): unknown;
}

/** For `app.register(...)`, with a `prefix` if you like. The four paths only; other routes keep their parsers. */
export function micsHookFastify(options: MicsHookServerOptions): (fastify: any) => Promise<void> {
  const dispatcher = new HookDispatcher(options);
  const bodyLimit = dispatcher.maxBodyBytes;
  return async (fastify: FastifyLike) => {
    const raw = (_: unknown, body: Buffer, done: (error: null, body: Buffer) => void): void => done(null, body);
    fastify.addContentTypeParser(CONTENT_TYPES, { parseAs: 'buffer', bodyLimit }, raw);
    for (const path of HOOKS.map((hook) => `/${hook}`)) {
      fastify.post(path, { bodyLimit }, async (request: any, reply: any) => {
        const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
        const contentType = request.headers['content-type'];
        const answer = await dispatcher.handle({ method: 'POST', path, contentType, body });
        return reply.code(answer.status).type(typeOf(answer)).send(Buffer.from(answer.body));
      });
    }
  };
}

async function serve(
  dispatcher: HookDispatcher,
  req: IncomingMessage & { body?: unknown },
  res: ServerResponse,
): Promise<void> {
  // A body parser may have been here before: raw bytes are as good, anything else is too late.
  const body = req.body instanceof Uint8Array ? req.body : await readBody(req, dispatcher.maxBodyBytes);
  if (body === 'gone') return;
  const { method = '', url: path = '' } = req;
  const contentType = req.headers['content-type'];
  const answer =
    body === 'too large'
      ? { status: 413, body: Buffer.from('body too large') }
      : body === 'parsed'
        ? { status: 500, body: Buffer.from('put the hooks before the body parser') }
        : await dispatcher.handle({ method, path, contentType, body });
  // The rest of a body that is too large is not waited for.
  if (body === 'too large') res.setHeader('Connection', 'close');
  res.writeHead(answer.status, { 'Content-Type': typeOf(answer), 'Content-Length': answer.body.length });
  res.end(answer.body);
}

function typeOf({ status }: HookHttpResponse): string {
  return status === 200 ? CONTENT_TYPE : 'text/plain; charset=utf-8';
}

function readBody(req: IncomingMessage, limit: number): Promise<Uint8Array | 'too large' | 'parsed' | 'gone'> {
  if (req.readableEnded) return Promise.resolve('parsed');
  if (Number(req.headers['content-length'] ?? 0) > limit) return Promise.resolve('too large');
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    req.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > limit) {
        req.pause();
        return resolve('too large');
      }
      chunks.push(chunk);
    });
    req.on('end', () => resolve(Buffer.concat(chunks)));
    req.on('error', () => resolve('gone'));
    req.on('close', () => resolve('gone'));
  });
}
