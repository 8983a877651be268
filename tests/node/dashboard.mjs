// Drives the dashboard in a real Chromium: node dashboard.mjs ORIGIN KEY FLOW. Says {"ok":true,…} or fails with what it saw.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [origin, key, flow, folder = ''] = process.argv.slice(2);
const [name, width, scheme] = flow.split('-'); // looks-360-dark
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const names = ['requests', 'models', 'providers', 'keys', 'playground', 'settings'];
const evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>{{7*7}}\'"';

async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (e) => faults.push(e.message));
  page.on('console', (m) => { if (/Content Security Policy|Refused to/.test(m.text())) faults.push(m.text()); });
  page.on('request', (r) => { if (!r.url().startsWith(origin) && !/^(data|blob):/.test(r.url())) faults.push(`asked ${r.url()}`); });
  page.setDefaultTimeout(30_000);
  return { context, page, faults };
}

async function useKey(page, text) {
  await page.getByText('Admin key').first().click();
  await page.getByRole('textbox', { name: 'Admin key' }).fill(text);
}

async function signIn(page, path = '/dashboard/') {
  await page.goto(origin + path);
  await useKey(page, key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation').waitFor();
}

async function visit(page, name) {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { level: 1, name }).waitFor();
}

const title = (name) => name[0].toUpperCase() + name.slice(1);

const flows = {
  async signing({ page }) {
    await page.goto(`${origin}/admin`);
    assert.equal(new URL(page.url()).pathname, '/dashboard/');
    await useKey(page, 'sk-wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('That is not it').waitFor();
    await signIn(page);
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
  },

  async inflight({ page }) {
    await signIn(page);
    const slow = fetch(`${origin}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'echo', stream: true, messages: [{ role: 'user', content: '[[delay 30000]] Hello' }] }),
    }).then((r) => r.text(), (e) => String(e));
    await page.getByRole('button', { name: /^Stop this request/ }).click();
    assert.ok(await slow);
    await page.getByText('Nothing is being served').waitFor();
  },

  async history({ page }) {
    const value = async () => (await (await fetch(`${origin}/sluice/v1/settings`, { headers: { authorization: `Bearer ${key}` } })).json()).data.find((s) => s.name === 'max_attempts').value;
    const first = await value();
    await signIn(page, '/dashboard/settings');
    await page.getByRole('textbox', { name: 'max_attempts', exact: true }).fill('7');
    await page.getByRole('button', { name: 'Save max_attempts' }).click();
    await page.getByText('Saved: max_attempts').waitFor();
    assert.equal(await value(), 7);
    await page.getByRole('tab', { name: 'History' }).click();
    await page.waitForURL(/settings\/history$/);
    await page.getByRole('button', { name: 'Show changes' }).first().click();
    await page.getByText('max_attempts').first().waitFor();
    await page.getByRole('button', { name: 'Go back to this' }).first().click();
    await page.getByText('The configuration went back').waitFor();
    assert.equal(await value(), first);
  },

  async objects({ page }) {
    await signIn(page, '/dashboard/providers');
    await page.getByRole('button', { name: 'Add a provider' }).first().click();
    await page.getByRole('combobox', { name: 'Kind' }).click();
    await page.getByRole('option', { name: /^Echo/i }).click();
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
    await page.getByRole('button', { name: 'Delete from the browser' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Delete from the browser' }).waitFor({ state: 'detached' });

    await visit(page, 'Providers');
    await page.getByRole('button', { name: 'Delete second-echo' }).click();
    await page.getByRole('dialog').getByRole('listitem').getByText('browser-model').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Delete second-echo' }).waitFor({ state: 'detached' });
    await visit(page, 'Models');
    await page.getByRole('cell').getByText('browser-model').waitFor({ state: 'detached' });
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
  },

  async playground({ page }) {
    await signIn(page, '/dashboard/playground');
    await page.getByRole('textbox', { name: 'Your message' }).waitFor();
    for (const format of ['OpenAI Chat', 'OpenAI Responses', 'Anthropic', 'Google']) {
      await page.getByRole('combobox', { name: 'Client format' }).click();
      await page.getByRole('option', { name: format }).click();
      await page.getByRole('combobox', { name: 'Model 1' }).click();
      await page.getByRole('option', { name: 'echo', exact: true }).click();
      await page.getByRole('textbox', { name: 'Your message' }).fill(`Grüße 中文 ${format}`);
      await page.getByRole('button', { name: 'Send' }).click();
      await page.getByText(/^Duration /).waitFor();
      assert.equal(await page.getByText(`Grüße 中文 ${format}`).count(), 2, format); // asked, and echoed
      assert.match(await page.getByText(/^Tokens /).innerText(), /Tokens [1-9]\d* → [1-9]/, format);
      await page.getByRole('button', { name: 'Clear' }).click();
    }
  },

  async settings({ page }) {
    await signIn(page, '/dashboard/settings');
    await page.getByRole('textbox', { name: 'Find a setting' }).fill('keepalive_ms');
    const field = page.getByRole('textbox', { name: 'keepalive_ms', exact: true });
    await field.fill('12345');
    await page.getByRole('button', { name: 'Save keepalive_ms' }).click();
    await page.getByText('Saved: keepalive_ms').waitFor();
    const now = (await (await fetch(`${origin}/sluice/v1/settings`, { headers: { authorization: `Bearer ${key}` } })).json()).data;
    assert.equal(now.find((s) => s.name === 'keepalive_ms').value, 12345);
    await page.getByRole('button', { name: 'Language' }).click();
    await page.getByRole('menuitem', { name: '中文' }).click();
    await page.getByRole('heading', { name: '设置' }).waitFor();
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-Hans');
  },

  async palette({ page }) {
    await signIn(page);
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: 'Go to' }).fill('playg');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Playground' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.press('Escape');
    await page.goBack();
    await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
  },

  async inert({ page, browser }) {
    const ask = (path, body, method = 'POST') => fetch(origin + path, { method, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
    assert.equal((await ask('/sluice/v1/keys', { label: evil })).status, 201);
    assert.equal((await ask('/sluice/v1/models', { name: evil, targets: [{ provider: 'echo', upstream_model: evil }] })).status, 201);
    assert.equal((await ask('/v1/chat/completions', { model: evil, messages: [{ role: 'user', content: evil }] })).status, 200);
    assert.equal((await ask('/v1/chat/completions', { model: `no ${evil}`, messages: [] })).status, 404);
    await signIn(page);
    for (const name of names) {
      await visit(page, title(name));
      await page.waitForLoadState('networkidle').catch(() => undefined);
    }
    await visit(page, 'Requests');
    await page.getByRole('cell').getByText(evil).first().click();
    await page.getByRole('dialog').getByText(evil).first().waitFor();
    assert.equal(await page.evaluate(() => window.hit), undefined);
    assert.ok(browser.isConnected());
  },

  async looks({ browser }, width, scheme) {
    const found = [];
    const { context, page, faults } = await open(browser, { viewport: { width, height: 800 }, colorScheme: scheme, bypassCSP: true, reducedMotion: 'reduce' });
    for (const name of ['', ...names]) {
      if (name === '') await signIn(page);
      else {
        const burger = page.getByRole('button', { name: 'Menu' });
        if (await burger.isVisible()) await burger.click();
        await visit(page, title(name));
      }
      await page.waitForTimeout(300);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) found.push(`${name} at ${width}: ${wide} px too wide`);
      await page.addScriptTag({ content: axe });
      const bad = await page.evaluate(async () => (await window.axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${v.id}: ${v.nodes[0].any[0]?.message ?? ''} ${v.nodes[0].html.slice(0, 200)}`));
      found.push(...bad.map((b) => `${name} at ${width} ${scheme}: ${b}`));
      if (folder) await page.screenshot({ path: `${folder}/${name || 'dashboard'}-${width}-${scheme}.png` });
    }
    found.push(...faults);
    await context.close();
    assert.deepEqual(found, []);
  },

  async expiry({ page }) {
    await signIn(page);
    await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
    const mine = (await (await fetch(`${origin}/sluice/v1/keys`, { headers: { authorization: `Bearer ${key}` } })).json()).data.find((k) => k.label === 'expiring');
    await fetch(`${origin}/sluice/v1/keys/${mine.id}`, { method: 'DELETE', headers: { authorization: `Bearer ${key}` } });
    await page.getByText('Your session is over').waitFor();
  },
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
try {
  const opened = await open(browser);
  await flows[name]({ ...opened, browser }, Number(width), scheme);
  assert.deepEqual(opened.faults, []);
  console.log(JSON.stringify({ ok: true }));
} finally {
  await browser.close();
}
