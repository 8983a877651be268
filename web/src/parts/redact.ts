// A request made fit to be shown to others: who sent it is left out, and, where asked for, every text that is no name of the format.
const plain = new Set(['model', 'role', 'type', 'id', 'object', 'finish_reason', 'stop_reason', 'status', 'code', 'event', 'service_tier', 'effort']);

function without(value: unknown, name = ''): unknown {
  if (typeof value === 'string') return plain.has(name) ? value : `[${value.length} characters]`;
  if (Array.isArray(value)) return value.map((v) => without(v, name));
  if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, without(v, k)]));
  return value;
}

function bodyWithout(text: string): string {
  try {
    return JSON.stringify(without(JSON.parse(text)), null, 1);
  } catch {
    return text.split('\n').map((line) => {
      const [, mark, rest] = /^(data: ?)(.*)$/.exec(line) ?? [];
      if (mark === undefined || rest === undefined) return /^(event|id): ?/.test(line) || line === '' ? line : `[${line.length} characters]`;
      try { return mark + JSON.stringify(without(JSON.parse(rest))); } catch { return rest === '[DONE]' ? line : `${mark}[${rest.length} characters]`; }
    }).join('\n');
  }
}

export function shared(record: object, bodies: { which: string; text: string; size: number; truncated: boolean }[], hasTexts: boolean): string {
  const nobody = { key: null, key_label: null, client_address: null, user_agent: null, trace_id: null };
  return JSON.stringify({
    request: { ...record, ...nobody, ...(!hasTexts && { error_message: null }) },
    bodies: Object.fromEntries(bodies.map((b) => [b.which, { size: b.size, truncated: b.truncated, text: hasTexts ? b.text : bodyWithout(b.text) }])),
  }, null, 2);
}

export function download(name: string, text: string, type = 'application/json'): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
