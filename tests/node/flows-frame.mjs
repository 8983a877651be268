// What holds on every page: the figures of the first one, another language, the keyboard alone, a path prefix.
import assert from 'node:assert/strict';
import { createServer, request as ask1 } from 'node:http';
import { ask, open, origin, read, say, signIn, until, visit } from './browser.mjs';

/** Requests, times, tokens and cost of the last minutes: of all, and of the model, provider or key that is picked. */
export async function overview({ page }) {
  assert.equal((await ask('POST', '/sluice/v1/prices', { provider: 'echo', model: '*', price: { input: 1000, output: 2000 } })).status, 200);
  for (let i = 0; i < 3; i++) assert.equal((await say('echo', 'Hello')).status, 200);
  // with nothing to draw, an axis says 0 and no more
  await page.addInitScript(() => {
    window.drawn = [];
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function fillText(text, ...where) { window.drawn.push(text); return draw.call(this, text, ...where); };
  });
  await page.route('**/sluice/v1/metrics/series?seconds=300', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...await answer.json(), series: [] } });
  });
  await signIn(page);
  await page.waitForFunction(() => document.querySelectorAll('.chart canvas').length === 4 && ['0', '$0'].every((zero) => window.drawn.includes(zero)));
  assert.deepEqual(await page.evaluate(() => [...new Set(window.drawn)].filter((text) => text && !/^(0|\$0|\d\d:\d\d(:\d\d)?)$/.test(text))), []);
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  const figures = page.getByRole('region', { name: 'The last five minutes' }).first();
  for (const name of ['Requests a second', 'Latency', 'Tokens a second, all together', 'Cost a minute']) await figures.getByRole('img', { name: new RegExp(`^${name}: `) }).waitFor();
  await page.getByText('Spent today').waitFor();
  for (const [choice, row] of [['By model', 'echo'], ['By provider', 'echo'], ['By key', 'expiring']]) {
    await figures.getByText(choice, { exact: true }).click();
    await figures.getByRole('row').filter({ hasText: row }).getByText(/^\$\d/).waitFor(); // what it cost
    await figures.getByRole('button', { name: row, exact: true }).click();
    await figures.getByText(`· ${row}`).waitFor();
  }
  const before = await figures.getByRole('row').filter({ hasText: 'expiring' }).getByRole('cell').nth(1).innerText();
  // and of the days before, from the ledger
  await until(async () => (await read('/sluice/v1/costs?bucket=total&group_by=key')).data.some((r) => r.requests >= 3));
  await figures.getByRole('radiogroup', { name: 'Time' }).getByText('24 h', { exact: true }).click();
  await page.waitForURL(/span=24h/);
  const past = page.getByRole('region', { name: 'Last 24 hours' }).first();
  for (const name of ['Requests an hour', 'Tokens', 'Cost']) await past.getByRole('img', { name: new RegExp(`^${name}: `) }).waitFor();
  await past.getByRole('button', { name: 'expiring', exact: true }).waitFor();
  await past.getByText('By model', { exact: true }).click();
  await past.getByRole('button', { name: 'echo', exact: true }).click();
  await past.getByText('· echo').waitFor();
  await past.getByRole('row').filter({ hasText: 'echo' }).getByText(/^\$\d/).waitFor();
  await past.getByRole('radiogroup', { name: 'Time' }).getByText('5 min', { exact: true }).click();
  await figures.getByText('By key', { exact: true }).click();
  assert.equal((await say('echo', 'one more')).status, 200);
  await page.waitForFunction((n) => [...document.querySelectorAll('table.sheet tr')].some((r) => r.cells[0]?.innerText.includes('expiring') && r.cells[1].innerText !== n), before); // by itself
}

/** Every page in Chinese: no text of the English table is left in it. */
export async function chinese({ page, browser }) {
  await page.addInitScript(() => localStorage.setItem('language', 'zh'));
  await signIn(page);
  const left = [];
  // names of objects, settings, formats and kinds are what they are in every language, and so are the server's own sentences
  for (const path of ['', 'requests', 'playground', 'models', 'providers', 'routing', 'routing/trace?model=echo', 'routing/policies?new=policy', 'routing/breakers', 'keys?new', 'orgs', 'orgs/users?new', 'cost', 'cost/budgets?new', 'cost/prices', 'cost/reconciliation', 'cost/ledger', 'settings/proxies?new', 'settings/addresses', 'settings/limits', 'settings/cache', 'settings/history', 'settings/sessions', 'settings/operators', 'settings/audit', 'settings/backup', 'start']) {
    await page.goto(`${origin}/dashboard/${path}`);
    await page.getByRole('heading', { level: 1 }).first().waitFor();
    await page.waitForFunction(() => !document.querySelector('[role=status][aria-label]'));
    const words = await page.evaluate(() => {
      const english = /\b(the|and|of|is|are|no|not|for|with|by|in|to|from|add|search|close|save|cancel|enabled|never|none|last|request|requests|cost)\b/i;
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      const found = [];
      for (let n = walk.nextNode(); n; n = walk.nextNode()) {
        const box = n.parentElement;
        if (box.closest('script,noscript,style,code,.step-text,pre,.mono,.changes-what,.changes,textarea,td,[role=cell],.tile-note,[role=option],.kind,select') || !n.data.trim()) continue;
        if (english.test(n.data)) found.push(n.data.trim().slice(0, 80));
      }
      for (const e of document.querySelectorAll('[aria-label],[placeholder],[title]')) for (const a of ['aria-label', 'placeholder', 'title']) { const t = e.getAttribute(a); if (t && english.test(t) && !e.closest('.changes,td,.mono,[role=cell]') && !/^[\w.-]+$/.test(t)) found.push(`${a}: ${t.slice(0, 80)}`); }
      return found;
    });
    left.push(...words.map((w) => `${path}: ${w}`));
  }
  assert.deepEqual(left, []);
  // and the page that makes the first operator, in the browser's language
  const first = await open(browser, { locale: 'zh-CN' });
  await first.page.goto(`${origin}/sluice/claim`);
  await first.page.getByRole('heading', { name: '成为此 sluice 的所有者' }).waitFor();
  await first.page.getByRole('button', { name: '成为所有者', exact: true }).waitFor();
  await first.page.getByLabel('再次输入').waitFor();
  assert.deepEqual(first.faults, []);
  await first.context.close();
}

/** With no mouse: to a page, into a list, through a form and out again, with the focus in sight. */
export async function keyboard({ page }) {
  await signIn(page);
  await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('href')), '#content'); // past the menu
  const to = async (holds) => { for (let i = 0; i < 60; i++) { if (await page.evaluate(holds)) return; await page.keyboard.press('Tab'); } throw new Error(`the focus never came: ${holds}`); };
  await to(() => document.activeElement.getAttribute('href')?.endsWith('/models'));
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Models' }).waitFor();
  await page.getByRole('row').filter({ hasText: 'echo' }).first().waitFor();
  await to(() => document.activeElement.getAttribute('role') === 'row');
  await page.keyboard.press('Enter');
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: 'Name that clients use' }).waitFor();
  await page.waitForFunction(() => document.querySelector('[role=dialog]').contains(document.activeElement)); // and stays in it
  for (let i = 0; i < 30; i++) { await page.keyboard.press('Tab'); assert.ok(await page.evaluate(() => document.querySelector('[role=dialog]').contains(document.activeElement))); }
  await page.keyboard.press('Escape');
  await form.waitFor({ state: 'detached' });
  // what is open beside a list keeps the focus, and gives it back
  await visit(page, 'Requests');
  const more = page.getByRole('button', { name: 'More', exact: true });
  const filters = page.getByRole('dialog').filter({ hasText: 'Operation' });
  const isInFilters = () => page.evaluate(() => document.activeElement?.closest('.mantine-Popover-dropdown') !== null);
  await more.focus();
  await page.keyboard.press('Enter');
  await until(isInFilters);
  for (let i = 0; i < 12; i++) { await page.keyboard.press('Tab'); assert.ok(await isInFilters()); }
  await page.keyboard.press('Escape');
  await filters.waitFor({ state: 'detached' });
  await until(() => more.evaluate((b) => b === document.activeElement));
  await page.keyboard.press('Enter');
  await until(isInFilters);
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Go to' }).waitFor();
  await filters.waitFor({ state: 'detached' });
  await page.waitForFunction(() => document.activeElement?.closest('[role=dialog]'));
  await page.keyboard.press('Escape');
  await until(() => more.evaluate((b) => b === document.activeElement));
  // where the pages are a menu, it takes the focus, and gives it back
  await page.setViewportSize({ width: 360, height: 740 });
  const menu = page.getByRole('button', { name: 'Menu' });
  await menu.focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement?.closest('nav'));
  await page.keyboard.press('Escape');
  await until(() => menu.evaluate((b) => b === document.activeElement && b.getAttribute('aria-expanded') === 'false'));
}

/** What is opened above a page gives the focus back to what opened it. */
export async function focus({ page }) {
  const make = async (path, body) => assert.equal((await ask('POST', `/sluice/v1/${path}`, body)).status, 201);
  await make('aliases', { alias: 'to-focus', to: 'echo' });
  await make('budgets', { name: 'to focus', scope: 'all', period: 'month', limit_usd: 90 });
  await signIn(page);
  const dialog = page.getByRole('dialog').first();
  const button = (name) => page.getByRole('button', { name, exact: true }).first();
  const returns = async (path, opener, key = 'Enter') => {
    await page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/${path}`);
    await opener.waitFor();
    await opener.focus();
    await page.keyboard.press(key);
    await dialog.waitFor();
    await page.waitForFunction(() => document.activeElement?.closest('[role=dialog]')); // it has it
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await until(() => opener.evaluate((e) => e === document.activeElement));
  };
  await returns('', button('API'));
  await returns('', page.getByRole('navigation').getByRole('link', { name: 'Models', exact: true }), 'Control+k'); // also of what is loaded only now
  await returns('models', button('Add a model'));
  await returns('models', page.getByRole('row').filter({ hasText: 'echo' }).first());
  await returns('models?provider=::aliases', button('Add an alias'));
  await returns('models?provider=::aliases', button('to-focus'));
  await returns('providers', button('Add a provider'));
  await returns('providers', button('Edit echo'));
  await returns('cost/budgets', button('Add a budget'));
  await returns('cost/budgets', button('to focus'));
  await returns('cost/prices', button('Set a price'));
  await returns('cost/prices', button('Read a list in'));
  await returns('playground', page.getByRole('button', { name: /^Copy as / }).first());
  for (const path of ['aliases/to-focus', 'budgets/to%20focus']) assert.equal((await ask('DELETE', `/sluice/v1/${path}`)).status, 204);
}

/** Behind a reverse proxy that has it below a path. */
export async function prefix({ browser }) {
  const proxy = createServer((request, response) => {
    if (!request.url.startsWith('/llm/gate/')) { response.statusCode = 404; return response.end(); }
    return request.pipe(ask1(origin + request.url.slice('/llm/gate'.length), { method: request.method, headers: { ...request.headers, host: new URL(origin).host } }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }).on('error', () => response.destroy()));
  });
  await new Promise((done) => { proxy.listen(0, '127.0.0.1', done); });
  const at = `http://127.0.0.1:${proxy.address().port}`;
  const { context, page } = await open(browser);
  const strays = [];
  page.on('request', (r) => { if (r.url().startsWith('http') && !r.url().startsWith(`${at}/llm/gate/`)) strays.push(r.url()); });
  await page.goto(`${at}/llm/gate/`);
  await page.waitForURL(`${at}/llm/gate/dashboard/`);
  await page.getByText('Admin key').first().click();
  await page.getByRole('textbox', { name: 'Admin key' }).fill(process.argv[3]);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await visit(page, 'Models');
  assert.equal(page.url(), `${at}/llm/gate/dashboard/models`);
  await page.getByRole('cell').getByText('echo').first().click();
  await page.waitForURL(`${at}/llm/gate/dashboard/models/echo`);
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'API', exact: true }).click();
  await page.getByText(`curl '${at}/llm/gate/sluice/v1/models`).first().waitFor();
  await page.goto(`${at}/llm/gate/dashboard/settings/history`); // a deep link
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.deepEqual(strays, []);
  await context.close();
  proxy.closeAllConnections();
  proxy.close();
  await read('/sluice/v1/info');
}
