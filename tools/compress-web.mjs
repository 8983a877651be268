// usage: node compress-web.mjs DIST EMBED: index.html as it is (the server fills in marks), everything else as .br and .gz.
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const [from, to] = process.argv.slice(2);
mkdirSync(to, { recursive: true });
for (const name of readdirSync(from)) {
  if (statSync(join(from, name)).isDirectory()) throw new Error(`${name}: the dashboard is flat`);
  const data = readFileSync(join(from, name));
  if (name === 'index.html') {
    writeFileSync(join(to, name), data);
    continue;
  }
  writeFileSync(join(to, `${name}.gz`), gzipSync(data, { level: 9 }));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length };
  writeFileSync(join(to, `${name}.br`), brotliCompressSync(data, { params }));
}
