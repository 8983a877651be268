// Cost: stacked by two dimensions, drilled into, as a table for elsewhere; budgets; a vendor's export beside the ledger.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ask, choose, origin, read, say, signIn, until, visit } from './browser.mjs';

export async function cost({ page }) {
  assert.equal((await ask('POST', '/sluice/v1/prices', { provider: 'echo', model: '*', price: { input: 1000, output: 2000 } })).status, 200);
  assert.equal((await ask('POST', '/sluice/v1/models', { name: 'other', targets: [{ provider: 'echo', upstream_model: 'other' }] })).status, 201);
  const mine = (await read('/sluice/v1/keys')).data.find((k) => k.label === 'expiring').id;
  assert.equal((await ask('PATCH', `/sluice/v1/keys/${mine}`, { tags: ['prod', 'east'] })).status, 200);
  for (const model of ['echo', 'echo', 'other']) assert.equal((await say(model, 'A question of some words')).status, 200);
  let lines = [];
  while (lines.length < 3) lines = (await read('/sluice/v1/ledger')).data.filter((l) => l.provider === 'echo' && l.cost_nanousd > 0);
  await signIn(page, '/dashboard/cost');
  await page.getByRole('table', { name: 'Spending' }).getByText('other', { exact: true }).waitFor();
  await choose(page, 'and by', 'Key');
  await page.waitForURL(/then=key/);
  const rows = page.getByRole('table', { name: 'Spending' }).getByRole('row');
  await rows.filter({ hasText: 'expiring' }).first().waitFor();
  const shown = await read('/sluice/v1/costs?group_by=model,key&bucket=total');
  await until(async () => (await rows.count()) === 1 + shown.data.length);
  // what the rest of the month may cost, once an hour of it says something
  if ((await read('/sluice/v1/costs?bucket=total')).forecast_nanousd !== null) await page.locator('.stacked-guess').last().waitFor();
  // the bar of today says what it is made of
  const chart = page.getByRole('img', { name: /^Spending: \$/ });
  const box = await chart.boundingBox();
  const days = new Date(new Date().getFullYear(), new Date().getMonth() + 1, 0).getDate();
  await page.mouse.move(box.x + 56 + ((box.width - 56) / days) * (new Date().getDate() - 0.5), box.y + 60);
  await page.locator('.stacked-tip').getByText('echo · expiring').waitFor();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'CSV' }).click()]);
  const csv = readFileSync(await file.path(), 'utf8');
  assert.match(csv, /^at,key,.*cost_nanousd/);
  assert.ok(csv.includes('"other"'));
  await page.getByRole('button', { name: 'API', exact: true }).click(); // the exact request
  await page.getByText(/sluice\/v1\/costs\?group_by=model%2Ckey&bucket=day/).first().waitFor();
  await page.keyboard.press('Escape');
  await rows.filter({ hasText: 'other' }).first().click(); // into it
  await page.waitForURL(/model=other/);
  await page.getByRole('button', { name: 'Clear Model' }).waitFor();
  await page.getByRole('table', { name: 'Spending' }).getByText('expiring').waitFor();
  await until(async () => (await rows.count()) === 2); // the figures of before stand there until the new ones come
  // by tag a request stands under each of its own, and once in the whole
  await page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/cost?by=tag`);
  await page.getByText('A request with several tags counts for each of them.').waitFor();
  for (const tag of ['prod', 'east']) await rows.filter({ hasText: tag }).first().waitFor();
  const whole = await read('/sluice/v1/costs?group_by=tag&bucket=total');
  assert.ok(whole.data.reduce((n, r) => n + r.requests, 0) >= whole.requests + 3);
  await page.getByRole('region', { name: 'Spending' }).first().getByText(`${whole.requests} requests settled`).waitFor();
  assert.equal((await ask('PATCH', `/sluice/v1/keys/${mine}`, { tags: [] })).status, 200);

  // a budget: made, seen to fill, changed, deleted
  await page.getByRole('tab', { name: 'Budgets' }).click();
  await page.getByRole('button', { name: 'Add a budget' }).first().click();
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: 'Name' }).fill('the month');
  await form.getByRole('textbox', { name: 'At most' }).fill('40');
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByRole('meter', { name: 'the month' }).waitFor();
  const made = await read('/sluice/v1/budgets/the%20month');
  assert.deepEqual([made.limit_nanousd, made.scope, made.period, made.action], [40e9, 'all', 'month', 'stop']);
  await page.getByRole('button', { name: 'the month', exact: true }).click();
  await choose(page, 'Binds', 'Tag');
  await form.getByRole('textbox', { name: 'Tag' }).fill('red');
  await form.getByRole('textbox', { name: 'At most' }).fill('3');
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await form.waitFor({ state: 'detached' });
  const now = await read('/sluice/v1/budgets/the%20month');
  assert.deepEqual([now.limit_nanousd, now.scope, now.subject], [3e9, 'tag', 'red']);
  await page.getByRole('button', { name: 'the month', exact: true }).click();
  await form.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('dialog', { name: 'Delete this budget?' }).getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('No budget', { exact: true }).waitFor();

  // what the vendor says
  await page.getByRole('tab', { name: 'Reconciliation' }).click();
  await page.getByRole('combobox', { name: 'Provider' }).click();
  await page.getByRole('option', { name: 'echo', exact: true }).click();
  await page.getByText('Nothing to compare yet').waitFor();
  const day = lines[0].at.slice(0, 10);
  const rowsOut = { data: [{ date: day, model: 'other', usage: 5, requests: 2, prompt_tokens: 20, completion_tokens: 20 }] };
  await page.locator('input[type=file]').setInputFiles({ name: 'export.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(rowsOut)) });
  await page.getByText('Read in: openrouter_activity').waitFor();
  await page.getByRole('table', { name: 'Reconciliation' }).getByText(/requests missing here/).waitFor();
  const table = `Date,Slug\n${day},x\n`;
  await page.locator('input[type=file]').setInputFiles({ name: 'wrong.csv', mimeType: 'text/csv', buffer: Buffer.from(table) });
  await page.getByRole('alert').filter({ hasText: 'This was not done' }).waitFor(); // what is no export is said to be none

  // prices: one of one's own that holds later beside the one that holds now, and a list that is looked at before it is read in
  await page.getByRole('tab', { name: 'Prices' }).click();
  await page.getByRole('button', { name: 'Set a price' }).click();
  await form.getByRole('combobox', { name: 'Provider' }).fill('echo');
  await form.getByRole('textbox', { name: 'Model there' }).fill('priced');
  const price = async (input, output, from) => {
    await form.getByRole('textbox', { name: 'input', exact: true }).fill(input);
    await form.getByRole('textbox', { name: 'output', exact: true }).fill(output);
    if (from) await form.getByLabel('Holds from').fill(from);
  };
  await price('1', '2');
  await form.getByRole('status').getByText('$2.00').waitFor();
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  const priced = page.getByRole('table', { name: 'Prices' }).getByRole('row').filter({ hasText: 'echo/priced' });
  await form.waitFor({ state: 'detached' });
  await page.getByRole('textbox', { name: 'Search', exact: true }).fill('echo/priced');
  await priced.click();
  await price('3', '4', '2037-01-01T00:00');
  await form.getByRole('status').locator('del').getByText('$1.00').waitFor(); // what changes
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await priced.nth(1).waitFor();
  const ours = (await read('/sluice/v1/prices?source=override&model=priced')).data;
  assert.deepEqual(ours.map((p) => [p.in_force, p.input_nanousd]), [[true, 1e9], [false, 3e9]]);
  await priced.nth(1).click();
  await form.getByRole('button', { name: 'Back to what lists say' }).click();
  await page.getByRole('dialog', { name: 'Back to what lists say' }).getByRole('button', { name: 'Back to what lists say' }).click();
  await priced.first().waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Read a list in' }).click();
  const list = { 'gpt-from-a-list': { litellm_provider: 'openai', input_cost_per_token: 1.25e-6, output_cost_per_token: 1e-5 }, odd: { litellm_provider: 'openai', input_cost_per_second: 1 } };
  await form.locator('input[type=file]').setInputFiles({ name: 'list.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(list)) });
  await form.getByText(/1 prices, 1 differ from what was known, 1 left out/).waitFor();
  await form.getByRole('row').filter({ hasText: 'openai/gpt-from-a-list' }).getByText('$1.25').waitFor();
  assert.deepEqual((await read('/sluice/v1/prices?source=list')).data, []); // only looked at
  await form.getByRole('button', { name: 'Read them in' }).click();
  await page.getByText('Read in: litellm · 1').waitFor();
  await form.waitFor({ state: 'detached' });
  await page.getByRole('textbox', { name: 'Search', exact: true }).fill('from-a-list');
  await page.getByRole('row').filter({ hasText: 'openai/gpt-from-a-list' }).waitFor();
  assert.equal((await ask('DELETE', '/sluice/v1/prices/import')).status, 200);

  // and models say what they cost
  await visit(page, 'Models');
  await page.getByRole('row').filter({ hasText: 'other' }).getByText('$2,000.00').waitFor();
  await page.getByRole('cell').getByText('other', { exact: true }).first().click();
  await form.getByRole('textbox', { name: /^Input, \$/ }).fill('0');
  await form.getByRole('textbox', { name: /^Output, \$/ }).fill('0');
  await form.getByRole('button', { name: 'Set it: echo' }).click();
  await form.getByRole('button', { name: 'Back to what lists say' }).waitFor();
  await form.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('row').filter({ hasText: 'other' }).getByText('free', { exact: true }).waitFor();
}
