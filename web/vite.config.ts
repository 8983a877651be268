import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const target = process.env.SLUICE_URL ?? 'http://127.0.0.1:8765';
const proxied = ['/sluice', '/v1', '/v1beta', '/api', '/admin', '/openapi.json', '/healthz', '/readyz', '/livez'];

export default defineConfig(({ command }) => ({
  base: command === 'serve' ? '/dashboard/' : './',
  plugins: [
    react(),
    {
      // The server fills in the marks of index.html; while developing there is only one address and no policy.
      name: 'marks',
      apply: 'serve',
      transformIndexHtml: (html: string) => html.replace('__BASE__', '/dashboard/').replace('__NONCE__', ''),
    },
  ],
  build: {
    outDir: '../build/web/dist',
    emptyOutDir: true,
    assetsDir: '',
    target: 'es2022',
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1024,
    // What the first screen needs comes in one file.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'first', tags: ['$initial'] }] } } },
  },
  server: { proxy: Object.fromEntries(proxied.map((path) => [path, { target, changeOrigin: false }])) },
}));
