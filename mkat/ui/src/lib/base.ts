// Where the page is served: "" at the root, "/mkat" (in the visitor's spelling) under the base path. The server writes
// it into the document; an unserved document (development) has the placeholder.

export function baseOf(content: string | null | undefined): string {
  return !content || content.startsWith('__') ? '' : content.replace(/\/+$/, '');
}

export const base = baseOf(
  typeof document === 'undefined' ? '' : document.querySelector<HTMLMetaElement>('meta[name=mkat-base]')?.content,
);
