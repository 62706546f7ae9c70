/** Compares field tables with the .proto files, read by an independent implementation. */
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { camel } from './vectors.js';

const root = new protobuf.Root();
root.resolvePath = (_, target) => fileURLToPath(new URL(`../../../proto/${target}`, import.meta.url));
root.loadSync('Protos/mics_hook.proto');

/** protobufjs's idea of a type, such as `mics.message.v1.MessageRequest`. */
export function protoType(name: string): protobuf.Type {
  return root.lookupType(name);
}

/** `[number, name, kind, label]` of each field of all messages of a package, by message. */
export function protoTables(packageName: string): Record<string, unknown[]> {
  const types = (root.lookup(packageName) as protobuf.Namespace).nestedArray.filter((t) => t instanceof protobuf.Type);
  return Object.fromEntries(types.map((type) => [type.name, type.fieldsArray.map((f) => rowOf(f.resolve()))]));
}

function rowOf(field: protobuf.Field): unknown[] {
  const nested = field.resolvedType instanceof protobuf.Type ? 'message' : field.resolvedType ? 'enum' : field.type;
  const optional = field.options?.['proto3_optional'] === true;
  return [field.id, camel(field.name), nested, field.repeated ? 'repeated' : optional ? 'optional' : undefined];
}

/** The same of this SDK's codecs, `XxxCodec` by name. */
export function sdkTables(codecs: Record<string, any>, names: string[]): Record<string, unknown[]> {
  const kind = (field: any): string => (typeof field.kind === 'string' ? field.kind : 'message');
  const rows = (fields: any[]): unknown[] => fields.map((f) => [f.no, f.name, kind(f), f.label]);
  return Object.fromEntries(names.map((name) => [name, rows(codecs[`${name}Codec`]?.fields ?? [])]));
}
