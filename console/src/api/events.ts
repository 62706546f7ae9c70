// Server-sent events over fetch: EventSource can't send the Authorization header.

export interface ServerEvent {
  event: string;
  data: string;
}

/** Longest event that is waited for; 200 tenants are about 300 kB. */
const LONGEST = 16 << 20;

/** Cuts text that comes in pieces into events; lines end with LF or CRLF. Comments and other fields are skipped. */
export class EventParser {
  private rest = '';

  push(text: string): ServerEvent[] {
    this.rest += text;
    if (this.rest.length > LONGEST) throw new Error('an event of the stream is too long');
    const blocks = this.rest.split(/\r?\n\r?\n/);
    this.rest = blocks.pop() ?? '';
    return blocks.map(parse).filter((event) => event.data !== '');
  }
}

function parse(block: string): ServerEvent {
  const event: ServerEvent = { event: 'message', data: '' };
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'event') event.event = value;
    if (name === 'data') data.push(value);
  }
  event.data = data.join('\n');
  return event;
}

/** The events of a response until it ends. */
export async function* eventsOf(response: Response): AsyncGenerator<ServerEvent> {
  if (!response.body) return;
  const [reader, parser, decoder] = [response.body.getReader(), new EventParser(), new TextDecoder()];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
