// A request made fit to be shown to others: who sent it is left out, and, where asked for, whatever somebody wrote. What stays is its form.
const plain = new Set(['model', 'role', 'type', 'id', 'object', 'finish_reason', 'stop_reason', 'status', 'code', 'event', 'service_tier', 'effort']);
const isName = (text: string) => /^[\w.:/-]{1,100}$/.test(text);

// Somebody's own throughout, names of members and numbers as well: what a tool is called with and answers, what schemas and labels say.
const own = new Set([
  'arguments', 'args', 'parameters', 'parametersJsonSchema', 'input_schema', 'inputSchema', 'schema', 'responseSchema', 'response_schema', 'responseJsonSchema',
  'metadata', 'attributes', 'action', 'functionResponse', 'function_response', 'executableCode', 'logit_bias', 'user_location', 'latLng', 'variables', 'structuredContent',
]);
const told = new Set(['content', 'output', 'result', 'response', 'outputs', 'results']); // by a tool
type Members = Record<string, unknown>;
const isResult = (o: Members) => o.role === 'tool' || o.role === 'function' || /(_result|_output|_call)$/.test(typeof o.type === 'string' ? o.type : '');
/** The turns of a conversation, where others have the input of a tool or a text as numbers. */
const isTurns = (value: unknown) => Array.isArray(value) && value.every((v) => v !== null && typeof v === 'object' && ('role' in v || 'type' in v));

function covered(value: unknown): unknown {
  if (value === null || value === undefined) return value;
  if (typeof value === 'string') return `[${value.length} characters]`;
  if (Array.isArray(value)) return `[list of ${value.length}]`;
  return typeof value === 'object' ? `[object of ${Object.keys(value).length}]` : `[${typeof value}]`;
}

function without(value: unknown, name = '', depth = 0): unknown {
  if (own.has(name) || (name === 'input' && !(depth === 1 && isTurns(value)))) return covered(value);
  if (typeof value === 'string') return plain.has(name) && isName(value) ? value : covered(value);
  if (Array.isArray(value)) return value.some((v) => typeof v === 'number') ? covered(value) : value.map((v) => without(v, name === 'input' ? '' : name, depth)); // tokens and vectors are texts
  if (value !== null && typeof value === 'object') {
    const members = value as Members;
    const hides = isResult(members);
    return Object.fromEntries(Object.entries(members).map(([k, v]) => [k, hides && told.has(k) ? covered(v) : without(v, k, depth + 1)]));
  }
  return value;
}

function bodyWithout(text: string): string {
  try {
    return JSON.stringify(without(JSON.parse(text)), null, 1);
  } catch {
    return text.split('\n').map((line) => {
      const [, mark, rest] = /^(data: ?)(.*)$/.exec(line) ?? [];
      if (mark === undefined || rest === undefined) {
        if (line === '' || /^event: ?[\w.]{1,100}$/.test(line)) return line;
        try { return JSON.stringify(without(JSON.parse(line))); } catch { return `[${line.length} characters]`; } // such as a line of NDJSON
      }
      try { return mark + JSON.stringify(without(JSON.parse(rest))); } catch { return rest === '[DONE]' ? line : `${mark}[${rest.length} characters]`; }
    }).join('\n');
  }
}

export function shared(record: { tried?: object[] }, bodies: { which: string; text: string; size: number; truncated: boolean }[], hasTexts: boolean): string {
  const nobody = { key: null, key_label: null, client_address: null, user_agent: null, trace_id: null };
  const silent = { error_message: null, tried: record.tried?.map((t) => ({ ...t, message: null })) }; // providers quote what they were asked
  return JSON.stringify({
    request: { ...record, ...nobody, ...(!hasTexts && silent) },
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
