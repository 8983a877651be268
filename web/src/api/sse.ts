// Server-sent events of a body that is being read; what the end of the stream cuts off is no event.
export interface Event { event: string; id: string; data: string }

export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop() ?? '';
      for (const part of parts) {
        const found: Event = { event: 'message', id: '', data: '' };
        const data: string[] = [];
        for (const line of part.split(/\r?\n/)) {
          if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
          else if (line.startsWith('event:')) found.event = line.slice(6).trim();
          else if (line.startsWith('id:')) found.id = line.slice(3).trim();
        }
        if (data.length) yield { ...found, data: data.join('\n') };
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
