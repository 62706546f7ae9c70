import { expect, test } from 'vitest';
import { eventReader, type ServerEvent } from './sse';

const text = ': hello\nretry: 2000\n\nid: 7\nevent: state_changed\ndata: {"a":\ndata: 1}\n\nevent: empty\n\ndata:x\r\n\r\n';
const expected: ServerEvent[] = [{ id: '7', event: 'state_changed', data: '{"a":\n1}' }, { id: '7', event: 'message', data: 'x' }];

test('events are read whole, however the text is cut', () => {
  for (let size = 1; size <= text.length; size += 1) {
    const events: ServerEvent[] = [];
    const waits: number[] = [];
    const read = eventReader((event) => events.push(event), (wait) => waits.push(wait));
    for (let start = 0; start < text.length; start += size) read(text.slice(start, start + size));
    expect(events, `pieces of ${size}`).toEqual(expected);
    expect(waits).toEqual([2000]);
  }
});

test('an unfinished event is not given', () => {
  const events: ServerEvent[] = [];
  eventReader((event) => events.push(event))('data: half\n');
  expect(events).toEqual([]);
});
