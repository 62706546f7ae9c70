/** Message ids: UUID version 7 (time first), unique over devices and restarts, without a counter that starts over. */

/** A UUIDv7 as 32 lower-case hex digits. Randomness only has to be unique, not secret. */
export function uuidv7(now = Date.now(), random: () => number = Math.random): string {
  const hex = (count: number): string => {
    let text = '';
    while (text.length < count) text += Math.floor(random() * 16).toString(16);
    return text;
  };
  const time = now.toString(16).padStart(12, '0');
  const variant = (8 + Math.floor(random() * 4)).toString(16);
  return `${time}7${hex(3)}${variant}${hex(15)}`;
}
