// Reads a stream of server-sent events, in pieces of any size.

export interface ServerEvent {
  id: string;
  event: string;
  data: string;
}

/** Give it pieces of text, get the events that are complete. `onRetry` hears the server's wish in milliseconds. */
export function eventReader(onEvent: (event: ServerEvent) => void, onRetry: (milliseconds: number) => void = () => {}) {
  let rest = '';
  let id = '';
  let event = '';
  let data: string[] = [];

  function field(name: string, value: string): void {
    if (name === 'id' && !value.includes('\0')) id = value;
    else if (name === 'event') event = value;
    else if (name === 'data') data.push(value);
    else if (name === 'retry' && /^\d+$/.test(value)) onRetry(Number(value));
  }

  function line(text: string): void {
    if (text === '') {
      if (data.length > 0) onEvent({ id, event: event || 'message', data: data.join('\n') });
      event = '';
      data = [];
      return;
    }
    const colon = text.indexOf(':');
    if (colon === 0) return; // a comment: the server keeps the connection alive
    if (colon < 0) field(text, '');
    else field(text.slice(0, colon), text.slice(colon + 1).replace(/^ /, ''));
  }

  return (piece: string): void => {
    rest += piece;
    // A CR at the end may be half of a CRLF.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    lines.forEach(line);
  };
}
