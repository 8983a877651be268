// Drives the dashboard in a real Chromium: node dashboard.mjs ORIGIN KEY FLOW[,FLOW…]. Says {"ok":true,…} or fails with what it saw.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { ask, axe, flow, folder, key, open, openPage, origin, read, say, signIn, signInByKey, signInByPassword, title, until, useKey, visit } from './browser.mjs';
import { advanced, books, holders, kept, policies, ways } from './flows-around.mjs';
import { cost } from './flows-cost.mjs';
import { inert } from './flows-inert.mjs';
import { chinese, focus, keyboard, overview, prefix } from './flows-frame.mjs';
import { marks, objectsAsSeen } from './flows-objects.mjs';
import { people } from './flows-people.mjs';
import { routing } from './flows-routing.mjs';
import { settings } from './flows-settings.mjs';

const shown = ['', 'requests', 'models', 'models/echo', 'providers', 'providers/echo', 'routing', 'routing?new=combo', 'routing/chains', 'routing/policies', 'routing/policies?new=policy', 'routing/trace?model=echo', 'routing/breakers', 'models?provider=::aliases&alias=', 'providers?new', 'keys', 'keys?new', 'keys/0a1b2c3d', 'orgs', 'orgs?new', 'orgs/users?new', 'cost', 'cost/budgets', 'cost/prices', 'cost/prices?bring', 'cost/reconciliation', 'cost/ledger',
  'playground', 'settings', 'settings/proxies', 'settings/proxies?new', 'settings/addresses', 'settings/limits', 'settings/cache', 'settings/history', 'settings/sessions', 'settings/operators', 'settings/operators?own', 'settings/audit', 'settings/backup', 'start'];

/** Nothing serious for those who see or hear a page otherwise, in light and dark; nothing too wide, nothing cut. */
async function looksOf(browser, paths) {
  const found = [];
  const { id } = (await read('/sluice/v1/requests?limit=1')).data[0] ?? { id: (await say('echo', 'Hello')).headers.get('x-request-id') };
  const { context, page, faults } = await open(browser, { bypassCSP: true });
  await signIn(page);
  await page.addScriptTag({ content: axe });
  const still = () => page.waitForFunction(() => document.getAnimations().every((a) => a.playState !== 'running' || a.effect?.getComputedTiming().iterations === Infinity));
  const turn = async (scheme) => { // colours fade into each other
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForFunction((s) => document.documentElement.dataset.mantineColorScheme === s, scheme);
    await still();
  };
  const settled = async (path) => {
    await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); })); // it is no longer the page before
    if (/\bnew|own$|bring|alias=|\/(echo|0a1b2c3d|req_)/.test(path)) await page.getByRole('dialog').locator('form, .facts, .kinds, input').first().waitFor({ state: 'attached' });
    await page.waitForFunction(() => document.querySelector('h1') && !document.querySelector('[aria-label="Loading"], .mantine-Loader-root'));
    await still();
  };
  const colours = ['color-contrast', 'link-in-text-block'];
  /** The frame is the same around all pages: it is looked at once. */
  const look = async (path, how, { only, but }) => {
    const rules = only ? { runOnly: { type: 'rule', values: only } } : { rules: Object.fromEntries(but.map((r) => [r, { enabled: false }])) };
    const bad = await page.evaluate(async ([isFirst, how]) => (await window.axe.run(isFirst || !document.querySelector('main') ? document : { include: [['main'], ['[data-portal]']].filter(([s]) => document.querySelector(s)) }, { resultTypes: ['violations'], ...how })).violations
      .filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${v.id}: ${v.nodes[0].any[0]?.message ?? ''} ${v.nodes[0].html.slice(0, 200)}`), [path === paths[0], rules]);
    found.push(...bad.map((b) => `${path} ${how}: ${b}`));
    if (folder) await page.screenshot({ path: `${folder}/${path.replace(/[^a-z0-9]+/gi, '_') || 'dashboard'}-${how.replace(' ', '-')}.png` });
  };
  for (const path of [...paths, `requests/${id}`]) {
    await page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/${path}`);
    await settled(path);
    await look(path, '1440 light', { but: [] });
    await turn('dark');
    await look(path, '1440 dark', { only: colours }); // the rest is the same
    for (const width of [768, 360]) {
      await page.setViewportSize({ width, height: 800 });
      const excess = () => document.documentElement.scrollWidth - window.innerWidth;
      await page.waitForFunction(() => document.documentElement.scrollWidth <= window.innerWidth, undefined, { timeout: 20_000 }).catch(() => undefined); // sizes are told a moment later
      const wide = await page.evaluate(excess);
      if (wide > 0) found.push(`${path} at ${width}: ${wide} px too wide`);
      const cut = await page.evaluate(() => [...document.querySelectorAll('main button, main h1, [role=dialog] button')].filter((x) => {
        const r = x.getBoundingClientRect();
        let box = x.parentElement;
        while (box && !/auto|scroll|hidden/.test(getComputedStyle(box).overflowX)) box = box.parentElement;
        return r.width > 0 && (!box || box === document.body) && r.right > window.innerWidth + 1;
      }).map((x) => x.outerHTML.slice(0, 120)));
      found.push(...cut.map((c) => `${path} at ${width}: cut ${c}`));
    }
    await look(path, '360 dark', { but: colours }); // which are the same
    await turn('light');
    await page.setViewportSize({ width: 1440, height: 900 });
  }
  found.push(...faults);
  await context.close();
  assert.deepEqual(found, []);
}

const flows = {
  advanced,
  books,
  chinese,
  cost,
  focus,
  holders,
  inert,
  kept,
  keyboard,
  marks,
  objectsAsSeen,
  overview,
  people,
  policies,
  prefix,
  routing,
  settings,
  ways,

  async signing({ page }) {
    await page.goto(`${origin}/admin`);
    assert.equal(new URL(page.url()).pathname, '/dashboard/');
    await useKey(page, 'sk-wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('That is not it').waitFor();
    await signInByKey(page);
    await page.getByText('Nothing is broken').waitFor();
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]) + document.documentElement.outerHTML);
    assert.ok(!kept.includes(key), 'the key stands in the page or in a storage');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  },

  /* with a password: a cookie that scripts cannot see, so a reload stays signed in */
  async password({ page, context }) {
    await page.goto(`${origin}/dashboard/keys`);
    await page.getByRole('textbox', { name: 'Password' }).fill('not the password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('That is not it').waitFor();
    await page.getByRole('textbox', { name: 'Password' }).fill('a long enough password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Keys' }).waitFor();
    const [cookie] = await context.cookies();
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict');
    assert.equal(await page.evaluate(() => document.cookie), '');
    await page.reload();
    await page.getByRole('heading', { name: 'Keys' }).waitFor();
    await page.getByRole('switch', { name: 'Enabled spare' }).click({ force: true }); // a change, with the proof of origin
    await page.waitForFunction(() => !document.querySelector('[aria-label="Enabled spare"]').checked);
    await page.goto(`${origin}/dashboard/settings/sessions`);
    await page.getByText('this one').waitFor();
    await page.goto(`${origin}/dashboard/settings/audit`);
    await page.getByRole('cell').getByText('/sluice/v1/keys/{id}').first().waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  },

  /* from the claim link to the first request that arrives; `key` is the link's token, the provider another sluice */
  async start({ page }) {
    const { PROVIDER_URL: url, PROVIDER_KEY: secret } = process.env;
    await page.goto(`${origin}/sluice/claim#${key}`);
    await page.getByLabel('Password').fill('a long enough password');
    await page.getByLabel('The same again').fill('a long enough password');
    await page.getByRole('button', { name: 'Become the owner' }).click();
    await page.waitForURL(/\/dashboard\/start$/);
    await page.getByRole('button', { name: /OpenAI.compatible/i }).click();
    await page.getByRole('textbox', { name: 'Base URL' }).fill(`${url}/v1`);
    await page.getByRole('textbox', { name: /API key/ }).fill(secret);
    await page.getByRole('button', { name: 'Add and go on' }).click();
    await page.waitForURL(/provider=openai-compatible/);
    await page.getByRole('combobox', { name: /^Model/ }).click();
    await page.getByRole('option', { name: 'openai-compatible/echo', exact: true }).click();
    await page.getByRole('button', { name: 'Send a test request' }).click();
    await page.getByText(/^Answered in \d.* First token \d/).waitFor();
    await page.getByRole('button', { name: 'Go on', exact: true }).click();
    await page.getByRole('textbox', { name: 'Label' }).fill('first client');
    await page.getByRole('button', { name: 'Create a key' }).click();
    await page.getByText('shown only now').waitFor();
    const made = (await page.locator('pre').first().innerText()).trim();
    for (const client of ['Python', 'Node', 'Claude Code', 'Codex', 'Gemini CLI', 'opencode', 'Cline', 'Cursor', 'Continue', 'Open WebUI', 'curl']) {
      await page.getByRole('group', { name: 'Put it to work' }).getByText(client, { exact: true }).click();
      const text = await page.locator('pre').nth(1).innerText();
      assert.ok(text.includes(made) && (client === 'Open WebUI' || text.includes('echo')), `${client}: ${text}`);
    }
    await until(async () => /curl (\S+) [^]*-d '/.test(await page.locator('pre').nth(1).innerText()));
    const copied = await page.locator('pre').nth(1).innerText(); // what curl would send
    const [, to, bearer, body] = /curl (\S+) [^]*'authorization: Bearer (\S+)'[^]*-d '(.*)'/.exec(copied);
    await page.getByText('Waiting for your first request').waitFor();
    const answer = await fetch(to, { method: 'POST', headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' }, body });
    assert.equal(answer.status, 200);
    await page.getByText('Your first request arrived and was answered').waitFor();
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
    assert.ok(!kept.includes(made) && !kept.includes(secret));
    await page.reload();
    await page.getByText('Your first request arrived and was answered').waitFor();
    assert.ok(!(await page.content()).includes(made), 'the key outlived the page');
    await page.getByRole('link', { name: 'Look at it' }).click();
    await page.getByRole('dialog').getByText(answer.headers.get('x-request-id')).first().waitFor();
    // the last owner cannot go: the server says why
    await page.goto(`${origin}/dashboard/settings/operators`);
    await page.getByRole('button', { name: 'admin', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    const sure = page.getByRole('dialog', { name: 'Remove this operator?' });
    await sure.getByRole('button', { name: 'Delete', exact: true }).click();
    await sure.getByRole('alert').getByText('This is the last owner who can sign in').waitFor();
  },

  async inflight({ page }) {
    await signIn(page);
    const slow = fetch(`${origin}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'echo', stream: true, messages: [{ role: 'user', content: '[[delay 600000]] Hello' }] }),
    }).then((r) => r.text(), (e) => String(e));
    const stop = page.getByRole('button', { name: /^Stop this request/ });
    await stop.waitFor();
    await page.setViewportSize({ width: 360, height: 740 });
    await until(() => stop.evaluate((b) => b.getBoundingClientRect().right <= innerWidth)); // within reach
    await page.setViewportSize({ width: 1440, height: 900 });
    const gone = '**/sluice/v1/requests/active/*';
    await page.route(gone, (route) => route.fulfill({ status: 404, contentType: 'application/json', body: '{"error":{"message":"It has just ended"}}' }));
    await stop.click();
    await page.getByRole('alert').filter({ hasText: 'This was not done' }).getByText('It has just ended').waitFor();
    await page.unroute(gone);
    await stop.click();
    assert.ok(await slow);
    await page.getByText('Nothing is being served').waitFor();
  },

  async objects({ page }) {
    await signIn(page, '/dashboard/providers');
    await page.getByRole('button', { name: 'Add a provider' }).first().click();
    await page.getByRole('textbox', { name: 'Search the kinds' }).fill('echo');
    await page.getByRole('dialog').getByRole('button', { name: /^Echo/i }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('second-echo');
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('second-echo', { exact: true }).waitFor();

    await visit(page, 'Models');
    await page.getByRole('button', { name: 'Add a model' }).click();
    await page.getByRole('textbox', { name: 'Name that clients use' }).fill('browser-model');
    await page.getByRole('combobox', { name: 'Provider 1' }).click();
    await page.getByRole('option', { name: 'second-echo' }).click();
    await page.getByRole('textbox', { name: 'Model there 1' }).fill('echo');
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click();
    assert.equal((await ask('POST', '/sluice/v1/combos', { name: 'with-browser-model', members: [{ model: 'browser-model' }, { model: 'echo' }] })).status, 201);
    await page.getByRole('button', { name: 'Test browser-model' }).click();
    await page.getByText('browser-model: Answered in').waitFor();
    await page.getByRole('tab', { name: /second-echo/ }).click();
    await page.getByText('1 found').waitFor();
    await page.getByRole('textbox', { name: 'Search' }).fill('no such thing');
    await page.getByText('0 found').waitFor();

    await visit(page, 'Keys');
    await page.getByRole('button', { name: 'Create a key' }).first().click();
    await page.getByRole('textbox', { name: 'Label' }).fill('from the browser');
    await page.getByRole('dialog').getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByText('shown only now').waitFor();
    const made = (await page.getByRole('dialog').locator('pre').first().innerText()).trim();
    const answer = await fetch(`${origin}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${made}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'browser-model', messages: [{ role: 'user', content: 'Hello' }] }),
    });
    assert.equal(answer.status, 200);
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
    await until(async () => (await read('/sluice/v1/ledger')).data.some((l) => l.model === 'browser-model'));
    await page.getByText('from the browser').click(); // what it used
    await page.getByRole('region', { name: 'Last 30 days' }).getByText(/1 request settled ·/).waitFor();
    await page.getByRole('region', { name: 'Last 30 days' }).getByRole('link', { name: 'Cost' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Delete from the browser' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Delete from the browser' }).waitFor({ state: 'detached' });

    await visit(page, 'Providers');
    await page.getByRole('button', { name: 'Delete second-echo' }).click();
    await page.getByRole('dialog').getByRole('region', { name: 'These models have no other provider and go with it:' }).getByText('browser-model').waitFor();
    await page.getByRole('dialog').getByRole('region', { name: 'It leaves these combos:' }).getByText('with-browser-model').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Delete second-echo' }).waitFor({ state: 'detached' });
    await visit(page, 'Models');
    await page.getByRole('cell').getByText('browser-model').waitFor({ state: 'detached' });
    assert.equal((await ask('DELETE', '/sluice/v1/combos/with-browser-model')).status, 204);
  },

  async requests({ page }) {
    await signIn(page, '/dashboard/requests');
    await page.getByRole('heading', { name: 'Requests' }).waitFor();
    const sent = await fetch(`${origin}/v1/messages`, {
      method: 'POST', headers: { 'x-api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'no-such-model', max_tokens: 5, messages: [{ role: 'user', content: 'Hello' }] }),
    });
    const id = sent.headers.get('x-request-id');
    await page.getByRole('cell').getByText('no-such-model').first().waitFor(); // it appears by itself
    await page.getByRole('combobox', { name: 'Status' }).click();
    await page.getByRole('option', { name: 'Failed' }).click();
    await page.waitForURL(/status=error/);
    await page.getByRole('cell').getByText('no-such-model').first().click();
    await page.getByRole('dialog').getByText(id).first().waitFor();
    await page.getByRole('dialog').getByText('model_not_found').waitFor();
    assert.match(page.url(), new RegExp(`/dashboard/requests/${id}\\?status=error$`));
    await page.goBack();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    // what the address asks for stands in the fields, also what is in no list
    const from = new Date(Date.now() - 3_600_000).toISOString();
    await page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/requests?from=${from}&status=404&key=0a1b2c0f&operation=messages`);
    await page.getByRole('button', { name: /^More · 2/ }).click();
    await until(async () => /^\d{4}-\d\d-\d\dT\d\d:\d\d$/.test(await page.getByLabel('From', { exact: true }).inputValue()));
    await until(async () => (await page.getByRole('combobox', { name: 'Operation' }).inputValue()) === 'messages');
    await until(async () => (await page.getByRole('option').count()) === 0); // no list covers the fields
    await page.keyboard.press('Escape');
    for (const [name, value] of [['Status', '404'], ['Key', '0a1b2c0f']]) await until(async () => (await page.getByRole('combobox', { name, exact: true }).inputValue()) === value);
  },

  async playground({ page }) {
    await signIn(page, '/dashboard/playground');
    await page.getByRole('textbox', { name: 'Your message' }).waitFor();
    for (const format of ['OpenAI Chat', 'OpenAI Responses', 'Anthropic', 'Google', 'Ollama']) {
      await page.getByRole('combobox', { name: 'Client format' }).click();
      await page.getByRole('option', { name: format }).click();
      await page.getByRole('combobox', { name: 'Model 1' }).click();
      await page.getByRole('option', { name: 'echo', exact: true }).click();
      await page.getByRole('textbox', { name: 'Your message' }).fill(`Grüße 中文 ${format}`);
      await page.getByRole('button', { name: 'Send' }).click();
      await page.getByText(/^Duration /).waitFor();
      await until(async () => (await page.getByText(`Grüße 中文 ${format}`).count()) === 2); // asked, and echoed
      await page.getByText(/^Tokens [1-9]\d* → [1-9]/).waitFor();
      await page.getByRole('button', { name: 'Clear' }).click();
    }
    // two side by side, a system prompt, a tool that is called, an image, and the same to be copied
    await page.getByRole('combobox', { name: 'Client format' }).click();
    await page.getByRole('option', { name: 'Anthropic' }).click();
    await page.getByRole('button', { name: 'Parameters' }).click();
    await page.getByRole('textbox', { name: 'System prompt' }).fill('Be brief.');
    await page.getByRole('textbox', { name: 'Tools' }).fill('[{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}]');
    await page.getByRole('combobox', { name: 'Reasoning effort' }).click();
    await page.getByRole('option', { name: 'low', exact: true }).click();
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.getByRole('combobox', { name: 'Model 2' }).waitFor();
    const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
    await page.locator('input[type=file]').setInputFiles({ name: 'dot.png', mimeType: 'image/png', buffer: Buffer.from(png, 'base64') });
    await page.getByText('dot.png').waitFor();
    const sent = [];
    page.on('request', (r) => { if (r.url().endsWith('/v1/messages')) sent.push(r.postDataJSON()); });
    await page.getByRole('textbox', { name: 'Your message' }).fill('[[tool get_weather {"city":"Bern"}]]');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('"Bern"').first().waitFor();
    await page.waitForFunction(() => document.body.innerText.match(/Duration/g)?.length === 2);
    assert.equal(sent.length, 2);
    assert.ok(sent.every((b) => b.system === 'Be brief.' && b.tools[0].name === 'get_weather' && b.messages[0].content[0].source.data === png));
    await page.getByRole('button', { name: 'Copy as echo' }).first().click();
    const copy = page.getByRole('dialog');
    assert.ok((await copy.locator('pre').first().innerText()).includes('/v1/messages'));
    await copy.getByRole('tab', { name: 'Anthropic SDK' }).click();
    const code = await copy.locator('pre:visible').first().innerText(); // all of it: what was sent stands in it
    assert.ok(['from anthropic import', '"get_weather"', png, 'system="Be brief."', 'thinking={'].every((t) => code.includes(t)), code);
    for (const name of ['Python', 'Node', 'Claude Code', 'Gemini CLI']) await copy.getByRole('tab', { name }).click();
    await page.keyboard.press('Escape');
    await copy.waitFor({ state: 'detached' });
    // what was thought is shown apart
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.getByRole('textbox', { name: 'Your message' }).fill('[[reasoning Considered with care]] Hello');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Considered with care', { exact: true }).first().waitFor();
    await page.getByText('Thinking', { exact: true }).first().waitFor();
    await page.waitForFunction(() => document.body.innerText.match(/Duration/g)?.length === 2);
    // sound, for formats that have a place for it
    const wav = { name: 'beep.wav', mimeType: 'audio/wav', buffer: Buffer.from('UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=', 'base64') };
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.locator('input[type=file]').setInputFiles(wav);
    await page.getByText('beep.wav').waitFor();
    await page.getByRole('textbox', { name: 'Your message' }).fill('What is this?');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByRole('alert').getByText('this format has no place for sound').waitFor();
    await page.getByRole('combobox', { name: 'Client format' }).click();
    await page.getByRole('option', { name: 'OpenAI Chat' }).click();
    const [heard] = await Promise.all([page.waitForRequest((r) => r.url().endsWith('/v1/chat/completions')), page.getByRole('button', { name: 'Send' }).click()]);
    assert.equal(heard.postDataJSON().messages.at(-1).content[1].input_audio.format, 'wav');
    assert.equal(heard.postDataJSON().reasoning_effort, 'low');
  },

  async palette({ page }) {
    for (const [path, body, method] of [['budgets', { name: 'a budget to find', scope: 'all', period: 'month', limit_usd: 9 }], ['aliases', { alias: 'alias-to-find', to: 'echo' }], ['chains/chain-to-find', { chain: [{ provider: 'echo' }] }, 'PUT'],
      ['orgs', { id: 'org-to-find', name: 'org to find' }], ['policies/policy%20to%20find', { model: 'nothing', action: 'deny' }, 'PUT'], ['proxies/proxy%20to%20find', { url: 'http://127.0.0.1:9' }, 'PUT'], ['combos', { name: 'combo-to-find', members: [{ model: 'echo' }] }]]) {
      const made = await ask(method ?? 'POST', `/sluice/v1/${path}`, body);
      assert.ok(made.ok, await made.text());
    }
    await signIn(page);
    await page.keyboard.press('Control+k');
    const box = page.getByRole('combobox', { name: 'Go to' });
    await box.fill('playg');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Playground' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.press('Escape');
    await page.goBack();
    await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
    // every kind of object leads to where it is changed, actions to where they are done, also from the page that is open already
    const find = async (text, option) => {
      await box.waitFor({ state: 'detached' });
      await page.keyboard.press('Control+k');
      await box.fill(text);
      await page.getByRole('option', { name: option, exact: true }).click();
    };
    const dialog = page.getByRole('dialog');
    for (const [text, option, seen] of [['a budget', 'a budget to find Budget', 'Edit: a budget to find'], ['alias-to', 'alias-to-find alias', 'Edit: alias-to-find'], ['chain-to', 'chain-to-find chain', 'chain-to-find'], ['combo-to', 'combo-to-find combo', 'combo-to-find'],
      ['echo', 'echo Provider', 'echo'], ['echo', 'echo Model', 'Edit: echo'], ['spare', 'spare Key', 'spare'], ['policy to', 'policy to find Policy', 'policy to find'], ['proxy to', 'proxy to find Proxy', 'proxy to find'], ['org to', 'org to find Organisation', 'org to find'], ['add a user', 'Add a user Action', 'Add a user'], ['admin', 'admin Operator', 'Edit: admin'], ['create a k', 'Create a key Action', 'Create a key'], ['add an alias', 'Add an alias Action', 'Add an alias'],
      ['add a chain', 'Add a chain Action', 'Add a chain'], ['set a price', 'Set a price Action', 'Set a price'], ['read a list', 'Read a list in Action', 'Read a list in'], ['add an op', 'Add an operator Action', 'Add an operator'], ['add a prov', 'Add a provider Action', 'Add a provider']]) {
      await find(text, option);
      await page.getByRole('dialog', { name: seen, exact: true }).waitFor();
      await page.waitForFunction(() => document.activeElement?.closest('[role=dialog]')); // it has taken the focus, so it listens
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
    }
    await find('org to find', 'org to find: Cost Action');
    await page.getByRole('button', { name: 'Clear Organisation' }).waitFor();
    await find('max_attempts', 'max_attempts Setting');
    await page.getByRole('textbox', { name: 'max_attempts', exact: true }).waitFor();
    await find('echo', 'echo: Where would it go? Action');
    await page.getByRole('region', { name: 'Decision' }).getByText('is asked').waitFor();
    await find('ask all', 'Ask all again Action');
    await page.getByText('Asked again', { exact: true }).waitFor();
  },

  /* behind "API": what the page asked for, as it asked, and no secret in it */
  async exact({ page }) {
    const asked = new Set();
    page.on('request', (r) => { if (r.method() === 'GET') asked.add(r.url()); });
    assert.equal((await ask('POST', '/sluice/v1/providers', { name: 'to-rename', type: 'echo' })).status, 201);
    await signIn(page, '/dashboard/requests?status=error');
    for (const [name, path] of [['Requests', /requests\?status=error&limit=/], ['Dashboard', /metrics\/series\?seconds=300/], ['Models'], ['Providers'], ['Routing', /breakers\?limit=10000/], ['Keys'], ['Cost', /costs\?group_by=model&bucket=day&time_zone=/], ['Settings', /settings/], ['Playground']]) {
      if (name !== 'Requests') await visit(page, name);
      await page.getByRole('button', { name: 'API', exact: true }).click();
      const told = page.getByRole('dialog');
      let urls = [];
      await until(async () => { // what is told was asked, to the letter
        const text = await told.innerText();
        urls = [...text.matchAll(/curl '([^']+)'/g)].map((m) => m[1]);
        return text.includes('curl ') && (!path || urls.some((u) => path.test(u) && asked.has(u)));
      });
      await page.evaluate(() => document.activeElement.blur()); // wherever the focus is
      await page.keyboard.press('Escape');
      await told.waitFor({ state: 'detached' });
    }
    // also of what is open beside the page: the first Escape closes what is told, the next one the rest
    await visit(page, 'Keys');
    await page.getByRole('row').filter({ hasText: 'tests' }).click();
    const beside = page.getByRole('dialog', { name: 'tests' });
    await beside.getByRole('button', { name: 'API', exact: true }).click();
    await page.getByText(/curl '[^']*\/sluice\/v1\/keys/).first().waitFor();
    await page.keyboard.press('Escape');
    await page.getByText(/curl '[^']*\/sluice\/v1\/keys/).first().waitFor({ state: 'detached' });
    await until(() => beside.getByRole('button', { name: 'API', exact: true }).evaluate((b) => b === document.activeElement));
    await page.keyboard.press('Escape');
    await beside.waitFor({ state: 'detached' });
    await visit(page, 'Providers');
    await page.getByRole('button', { name: 'Edit to-rename' }).click();
    await page.getByRole('dialog').getByRole('textbox', { name: 'Name' }).fill('renamed');
    await Promise.all([page.waitForResponse((r) => r.request().method() === 'PATCH' && r.ok()), page.getByRole('dialog').getByRole('button', { name: 'Save', exact: true }).click()]);
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Add a provider' }).first().click();
    await page.getByRole('textbox', { name: 'Search the kinds' }).fill('compatible');
    await page.getByRole('dialog').getByRole('button', { name: /^OpenAI.compatible/i }).click();
    await page.getByRole('textbox', { name: 'Base URL' }).fill('http://127.0.0.1:9/v1');
    await page.getByRole('textbox', { name: 'API key' }).fill('sk-typed-into-the-form');
    await page.getByRole('textbox', { name: 'Proxy' }).fill('http://somebody:word-of-the-proxy@127.0.0.1:9');
    await Promise.all([page.waitForResponse((r) => r.request().method() === 'POST' && r.url().endsWith('/providers')), page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()]);
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'API', exact: true }).click();
    await page.getByRole('dialog').getByText('"api_key":"…"').waitFor();
    assert.ok(!/sk-typed|word-of-the-proxy/.test(await page.content()));
    await page.keyboard.press('Escape');
    for (const name of ['renamed', 'openai-compatible']) assert.equal((await ask('DELETE', `/sluice/v1/providers/${name}?cascade=true`)).status, 204);
  },

  /* every page and what opens beside it */
  async looks({ browser }) {
    await looksOf(browser, shown.slice(0, shown.indexOf('keys')));
  },

  async looksBehind({ browser }) {
    await looksOf(browser, shown.slice(shown.indexOf('keys')));
  },

  /* a provider fails while the dashboard is looked at: it says so, and leads to the errors */
  async failing({ page }) {
    await signIn(page);
    await page.getByText('Nothing is broken').waitFor();
    for (let i = 0; i < 3; i++) assert.equal((await say('broken', 'Hello')).status, 502);
    await page.getByRole('region', { name: 'What is broken now' }).getByText('nowhere: fails').waitFor();
    const failed = page.getByRole('region', { name: 'Latest errors' }).getByRole('cell').getByText('broken').first();
    await failed.waitFor();
    for (let i = 0; i < 60; i++) assert.equal((await say('echo', 'Hello', { max_tokens: 1 })).status, 200);
    await until(async () => (await read('/sluice/v1/requests?limit=50')).data.filter((r) => r.status === 200).length === 50); // however many went well since
    const asked = page.waitForResponse((r) => r.url().includes('/sluice/v1/requests?') && r.url().includes('status=error'));
    await asked;
    await failed.waitFor();
    await page.getByRole('link', { name: 'See the errors' }).click();
    await page.waitForURL(/requests\?provider=nowhere&status=error$/);
    await page.getByRole('cell').getByText('broken').first().waitFor();
  },

  /* one request in full: attempts, bodies and what became of them, again to another model, and as a file for others */
  async inspect({ page }) {
    assert.equal((await ask('POST', '/sluice/v1/prices', { provider: 'other', model: '*', price: { input: 3, output: 15 } })).status, 200);
    assert.equal((await ask('POST', '/sluice/v1/budgets', { name: 'the day', scope: 'all', period: 'day', limit_usd: 5 })).status, 201);
    const sent = await fetch(`${origin}/v1/messages`, {
      method: 'POST', headers: { 'x-api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'far', max_tokens: 77, top_k: 5, messages: [{ role: 'user', content: 'A private question' }] }),
    });
    assert.equal(sent.status, 200);
    const id = sent.headers.get('x-request-id');
    await signIn(page, '/dashboard/requests');
    await page.getByRole('combobox', { name: 'Model' }).click();
    await page.getByRole('option', { name: 'far' }).click();
    await page.waitForURL(/model=far/);
    await page.getByRole('button', { name: 'Views' }).click();
    await page.getByRole('menuitem', { name: 'Save this view' }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('my view');
    await page.getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByRole('button', { name: 'my view' }).waitFor();
    await page.getByRole('cell').getByText('far').first().click();
    const beside = page.getByRole('dialog');
    await beside.getByText(id).first().waitFor();
    await beside.getByText('anthropic → openai_chat').waitFor();
    await beside.getByRole('img', { name: /^other: / }).first().waitFor();
    await beside.getByText(/^Cost · \$0\.0/).waitFor();
    await beside.getByRole('cell', { name: 'output', exact: true }).waitFor();
    await beside.getByRole('tab', { name: 'Bodies' }).click();
    await beside.getByRole('region', { name: 'From the client', exact: true }).getByText('A private question').waitFor();
    const fate = (where, text, is) => until(async () => (await beside.getByRole('region', { name: where, exact: true }).locator('.line', { hasText: text }).first().getAttribute('data-is')) === is);
    await beside.getByRole('region', { name: 'To the provider', exact: true }).getByText('A private question').waitFor();
    await fate('From the client', 'top_k', 'dropped');
    await fate('From the client', 'A private question', 'kept');
    await fate('From the client', '"model"', 'mapped');
    await fate('From the client', 'max_tokens', 'kept');
    await fate('From the provider', '"finish_reason"', 'mapped');
    await fate('From the provider', 'prompt_tokens', 'mapped');
    await beside.getByRole('button', { name: 'Share' }).click();
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Without texts' }).click()]);
    const shared = readFileSync(await file.path(), 'utf8');
    assert.equal(JSON.parse(shared).request.id, id);
    assert.equal(JSON.parse(shared).request.key, null);
    assert.ok(!shared.includes('private question') && !shared.includes('127.0.0.1') && Object.keys(JSON.parse(shared).bodies).length === 4);
    await beside.getByRole('button', { name: 'Send again' }).click();
    const again = page.getByRole('dialog', { name: 'Send again' });
    await again.getByRole('combobox', { name: 'To this model' }).click();
    await again.getByRole('combobox', { name: 'To this model' }).fill('echo/anything'); // also what is served under no name
    await page.getByRole('option', { name: 'echo/anything', exact: true }).click();
    await again.getByRole('button', { name: 'Send', exact: true }).click();
    await again.getByText('A private question').waitFor();
    await again.getByRole('link', { name: 'Look at it' }).click();
    await page.waitForURL((u) => /requests\/req_/.test(u.pathname) && !u.pathname.includes(id));
    await beside.getByText('anthropic → anthropic').waitFor();
    // a streamed answer: what its events come to, with what became of each value, and the events themselves
    const streamed = await ask('POST', '/v1/messages', { model: 'far', max_tokens: 77, stream: true, messages: [{ role: 'user', content: 'A question that is streamed' }] });
    await streamed.text();
    const other = streamed.headers.get('x-request-id');
    await until(async () => (await ask('GET', `/sluice/v1/requests/${other}`)).ok);
    await page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/requests/${other}`);
    await beside.getByText(other).first().waitFor();
    await beside.getByRole('tab', { name: 'Bodies' }).click();
    const [came, went] = ['From the provider', 'To the client'].map((name) => beside.getByRole('region', { name, exact: true }));
    await came.locator('.line[data-is]', { hasText: '"finish_reason"' }).waitFor();
    await went.locator('.line[data-is]', { hasText: '"stop_reason"' }).waitFor();
    for (const [where, text] of [['From the provider', '"finish_reason"'], ['From the provider', '"content"'], ['To the client', '"text": "'], ['To the client', '"output_tokens"']]) await fate(where, text, 'mapped');
    await went.getByText('As sent', { exact: true }).click();
    await went.locator('.line', { hasText: 'event: message_start' }).waitFor();
    await came.locator('.line', { hasText: 'data: [DONE]' }).waitFor();
    assert.equal(await went.locator('.line[data-is]').count(), 0);
    await came.getByText('Put together', { exact: true }).click();
    await went.locator('.line[data-is]', { hasText: '"stop_reason"' }).waitFor();
    await page.goto(`${origin}/dashboard/`);
    await page.getByText('Spent today').waitFor();
    await page.getByRole('meter', { name: 'the day' }).waitFor();
  },

  /* a log of 100 000 rows: scrolled through to its end, with never more than a screen of it drawn */
  async rows({ page }) {
    await signIn(page, '/dashboard/requests');
    const table = page.getByRole('table', { name: 'Requests' });
    await table.waitFor();
    const step = () => table.evaluate((t) => { t.scrollTop = t.scrollHeight; return [Number(t.getAttribute('aria-rowcount')), t.querySelectorAll('[role=row]').length]; });
    let [count, drawn] = await step();
    const end = Date.now() + 500_000; // seconds where nothing else runs
    while (count < 100_001 && Date.now() < end) {
      await page.waitForFunction((n) => Number(document.querySelector('[role=table]').getAttribute('aria-rowcount')) > n, count);
      [count, drawn] = await step();
      assert.ok(drawn < 120, `${drawn} rows are drawn`);
    }
    assert.equal(count, 100_001);
    await page.getByRole('row', { name: /./ }).last().waitFor();
    await table.evaluate((t) => { t.scrollTop = 0; });
    await say('echo', 'the newest'); // and back at the top it is live: what is held shrinks to the newest
    await page.waitForFunction(() => Number(document.querySelector('[role=table]').getAttribute('aria-rowcount')) <= 1001);
    await page.getByRole('combobox', { name: 'Status' }).click();
    await page.getByRole('option', { name: '429' }).click();
    await page.waitForFunction(() => [...document.querySelectorAll('[role=cell] .status')].every((c) => c.textContent === '429') && document.querySelector('[role=cell] .status'));
  },

  /* 10 000 models: found by a word, only those in sight drawn */
  async many({ page }) {
    await signIn(page, '/dashboard/models');
    await page.getByText('10002 found').waitFor();
    assert.ok(await page.getByRole('row').count() < 120);
    await page.getByRole('textbox', { name: 'Search' }).fill('model-7777');
    await page.getByText(/^1 found/).waitFor();
    await page.getByRole('cell').getByText('model-7777').first().click();
    await page.getByRole('dialog').getByRole('textbox', { name: 'Name that clients use' }).waitFor();
    assert.match(page.url(), /models\/model-7777/);
    await page.goBack();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: 'Go to' }).fill('model-9999');
    await page.getByRole('option', { name: 'model-9999 Model' }).click();
    await page.waitForURL(/models\/model-9999/);
  },

  /* the network goes and comes back; a second tab learns of what happens in the first; reload and back on every page */
  async reach({ page, context }) {
    await signInByPassword(page); // it signs out
    await context.setOffline(true);
    await page.getByText('The server cannot be reached').waitFor();
    await page.getByRole('navigation').getByRole('link', { name: 'Models', exact: true }).click(); // which was not open before
    await context.setOffline(false);
    await page.getByText('The server cannot be reached').waitFor({ state: 'detached' });
    await page.getByRole('heading', { level: 1, name: 'Models' }).waitFor(); // by itself
    await page.getByRole('row').filter({ hasText: 'echo' }).first().waitFor();
    // a part of the page that is missing once, and one that has another name since an upgrade
    const gone = (route) => route.fulfill({ status: 404, body: '' });
    let refused = 0;
    await page.route(/\/orgs-[^/]*\.js$/, (route) => { refused++; return gone(route); }, { times: 1 });
    await visit(page, 'Organisations & users');
    assert.equal(refused, 1);
    let isOld = true;
    await page.route(/\/routing-[^/]*\.js$/, (route) => (isOld ? gone(route) : route.continue()));
    page.on('request', (r) => { if (r.isNavigationRequest()) isOld = false; });
    await visit(page, 'Routing');
    await page.unrouteAll();
    assert.ok(!isOld, 'it was not read anew');
    for (const path of ['', 'requests', 'models', 'providers', 'routing', 'routing/trace', 'keys', 'cost', 'cost/reconciliation', 'playground', 'settings', 'settings/proxies', 'settings/proxies?new', 'settings/addresses', 'settings/limits', 'settings/cache', 'settings/history', 'start', 'providers/echo', 'models/echo', 'keys/0a1b2c3d']) {
      await page.goto(`${origin}/dashboard/${path}`);
      await page.getByRole('heading', { level: 1 }).first().waitFor();
      const before = await page.getByRole('heading', { level: 1 }).first().innerText();
      await page.reload();
      await page.getByRole('heading', { level: 1, name: before }).first().waitFor();
      assert.equal(page.url(), `${origin}/dashboard/${path}`);
      if (/^(providers|models|keys)\//.test(path)) await page.getByRole('dialog').first().waitFor();
    }
    for (const path of ['models/nope', 'providers/nope', 'keys/nope', 'cost/budgets?budget=nope']) { // to what is gone
      await page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/${path}`);
      await page.waitForFunction((p) => location.href.endsWith(p), path);
      await page.getByRole('heading', { level: 1, name: title(path.split('/')[0]), exact: true }).waitFor();
      await page.getByText('Nothing here is called nope').waitFor();
    }
    await page.goto(`${origin}/dashboard/keys`);
    await page.getByRole('heading', { name: 'Keys' }).waitFor();
    const other = await context.newPage();
    await other.goto(`${origin}/dashboard/`);
    await other.getByRole('heading', { name: 'Dashboard' }).waitFor();
    await other.getByRole('button', { name: 'Sign out' }).click();
    await other.getByRole('button', { name: 'Sign in' }).waitFor();
    // unless the first tab has found out by itself
    await page.getByRole('navigation').getByRole('link', { name: 'Models' }).click({ timeout: 5000 }).catch(() => {});
    await page.getByText('Your session is over').waitFor();
  },

  /* for bench/dashboard: how fast, and how much memory */
  async budget({ browser }) {
    const { context, page } = await open(browser);
    const cdp = await context.newCDPSession(page);
    await page.goto(`${origin}/dashboard/`);
    await page.getByRole('textbox', { name: 'Password' }).fill('a long enough password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
    await say('echo', 'Hello');
    // Interactive: the figures, lists and problems of the first screen stand there, read from the server; then a click on one of
    // its choices is answered and drawn. The page tells it by itself: what the driver puts into a page takes its time as well.
    await page.addInitScript(() => {
      const seen = new MutationObserver(() => {
        const figure = (name) => [...document.querySelectorAll('.tile-name')].find((t) => t.textContent === name)?.nextElementSibling?.textContent;
        const region = (name) => document.querySelector(`section[aria-label="${name}"]`);
        const head = () => region('The last five minutes')?.querySelector('table.sheet th')?.textContent;
        if (!['In flight', 'Requests a minute', 'Spent today', 'Models'].every((name) => /[0-9]/.test(figure(name) ?? '')) || !region('What is broken now')
          || !region('What changed')?.querySelector('time') || document.querySelector('main [role=status]') || head() !== 'Model') return;
        seen.disconnect();
        requestAnimationFrame(() => setTimeout(() => {
          document.querySelector('input[type=radio][value=upstream]').click();
          const answered = () => (head() === 'Provider' ? requestAnimationFrame(() => setTimeout(() => console.log(`interactive ${performance.now()}`))) : setTimeout(answered, 1));
          answered();
        }));
      });
      seen.observe(document, { childList: true, subtree: true, characterData: true });
    });
    await cdp.send('Performance.enable');
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    const times = [];
    const busy = [];
    for (let i = 0; i < 7; i++) {
      await page.goto('about:blank');
      const told = page.waitForEvent('console', (m) => m.text().startsWith('interactive '));
      await page.goto(`${origin}/dashboard/`, { waitUntil: 'commit' });
      times.push(Number((await told).text().slice(12)));
      busy.push(1000 * (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value);
    }
    const median = (all) => Math.round(all.sort((a, b) => a - b)[Math.floor(all.length / 2)]);
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 1 });
    await page.addInitScript(() => {
      window.rate = 1000; // rows a second, of a tail that is made up here
      window.rowsMade = 0;
      window.longest = 0;
      new PerformanceObserver((l) => l.getEntries().forEach((e) => { window.longest = Math.max(window.longest, e.duration); })).observe({ type: 'longtask' });
      const real = window.fetch;
      window.fetch = (what, ...more) => {
        if (!String(what?.url ?? what).includes('/requests/tail')) return real(what, ...more);
        const text = new TextEncoder();
        let seq = Date.now() * 1000;
        const row = (n) => `id: ${n}\nevent: request\ndata: ${JSON.stringify({
          id: `req_${n}`, seq: n, ended: new Date().toISOString(), model: 'echo', provider: 'echo', provider_model: 'echo', key: '0a1b2c3d', key_label: 'bench', operation: 'chat',
          client_format: 'openai_chat', upstream_format: 'openai_chat', stream: false, status: n % 50 ? 200 : 502, error: null, error_message: null, attempts: 1, input_tokens: 34, output_tokens: 24,
          ttft_us: 900, duration_us: 1200, bytes_in: 100, bytes_out: 200, usage_quality: 'reported' })}\n\n`;
        return Promise.resolve(new Response(new ReadableStream({
          start(c) {
            setInterval(() => {
              let all = '';
              for (let i = 0; i < window.rate / 20; i++) all += row(++seq);
              window.rowsMade += window.rate / 20;
              c.enqueue(text.encode(all));
            }, 50);
          },
        }), { headers: { 'content-type': 'text/event-stream' } }));
      };
    });
    await page.goto(`${origin}/dashboard/requests`);
    await page.getByRole('table', { name: 'Requests' }).waitFor();
    await page.waitForTimeout(3_000);
    await page.evaluate(() => { window.longest = 0; window.rowsMade = 0; });
    await page.waitForTimeout(20_000);
    const longest = await page.evaluate(() => window.longest);
    const heap = async () => {
      await cdp.send('HeapProfiler.collectGarbage');
      return (await cdp.send('Runtime.getHeapUsage')).usedSize;
    };
    await page.evaluate(() => { window.rate = 20_000; });
    await page.waitForTimeout(5_000);
    await page.evaluate(() => { window.rowsMade = 0; });
    const before = await heap();
    await page.waitForFunction(() => window.rowsMade >= 1_200_000, undefined, { timeout: 300_000, polling: 1000 });
    const after = await heap();
    await context.close();
    return { first_screen_ms: median(times), first_screen_busy_ms: median(busy), longest_task_ms: Math.round(longest), heap_before_bytes: before, heap_after_bytes: after, rows: 1_200_000 };
  },

  async expiry({ page }) {
    await signInByKey(page);
    await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
    const mine = (await (await fetch(`${origin}/sluice/v1/keys`, { headers: { authorization: `Bearer ${key}` } })).json()).data.find((k) => k.label === 'expiring');
    await fetch(`${origin}/sluice/v1/keys/${mine.id}`, { method: 'DELETE', headers: { authorization: `Bearer ${key}` } });
    await page.getByText('Your session is over').waitFor();
  },
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
let figures;
try {
  let context; // of all of them: what was loaded once need not be loaded again
  for (const name of flow.split(',')) { // each begins with nothing that the one before left in the browser
    const begun = Date.now();
    console.error(name); // where it was, should it be ended from outside
    context ??= (await open(browser)).context;
    const opened = await openPage(context);
    try {
      figures = await flows[name]({ ...opened, context, browser });
      assert.deepEqual(opened.faults, []);
    } catch (e) {
      if (folder) await opened.page.screenshot({ path: `${folder}/failed-${name}.png` }).catch(() => undefined);
      throw new Error(`${name}: ${e.stack}`);
    }
    console.error(`  ${((Date.now() - begun) / 1000).toFixed(1)} s`);
    await opened.page.evaluate(() => { localStorage.clear(); sessionStorage.clear(); }).catch(() => undefined); // of about:blank
    await Promise.all(context.pages().map((p) => p.close()));
    await context.clearCookies();
  }
  console.log(JSON.stringify({ ok: true, figures }));
} finally {
  await browser.close();
}
