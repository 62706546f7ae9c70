import { expect, test } from 'vitest';
import { EventParser, eventsOf } from './events';

const STREAM = 'event: overview\ndata: {"a":1}\n\n: a comment\n\nevent: overview\r\ndata: x\r\ndata: y\r\n\r\ndata:z\n\ndata: not yet whole';
const EVENTS = [
  { event: 'overview', data: '{"a":1}' },
  { event: 'overview', data: 'x\ny' },
  { event: 'message', data: 'z' },
];

test('the events are the same wherever the stream is cut', () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const parser = new EventParser();
    expect([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))]).toEqual(EVENTS);
  }
});

test('an event that does not end is not kept for ever', () => {
  const parser = new EventParser();
  const piece = 'x'.repeat(8 << 20);
  parser.push(piece);
  parser.push(piece);
  expect(() => parser.push('x')).toThrow('too long');
});

test('characters cut between two pieces come whole', async () => {
  const bytes = new TextEncoder().encode('data: grüß 消息 🦀\n\n');
  const body = new ReadableStream({
    start(controller) {
      bytes.forEach((byte) => controller.enqueue(Uint8Array.of(byte)));
      controller.close();
    },
  });
  const found = [];
  for await (const { data } of eventsOf(new Response(body))) found.push(data);
  expect(found).toEqual(['grüß 消息 🦀']);
});
