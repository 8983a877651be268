// What clients, models and providers can put into texts stays text: names, prompts, errors, headers, lists of models, budgets.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ask, evil, read, say, signIn, title, visit } from './browser.mjs';

/** A provider that answers with markup wherever it can. */
async function hostile() {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('x-request-id', '"><img src=x onerror=window.hit=1>');
    response.setHeader('content-type', 'application/json');
    if (request.url.endsWith('/models')) return response.end(JSON.stringify({ data: [{ id: evil }] }));
    response.statusCode = 400;
    return response.end(JSON.stringify({ error: { message: evil, type: evil, code: evil } }));
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  return server;
}

export async function inert({ page }) {
  const server = await hostile();
  const make = async (path, body) => { const r = await ask('POST', path, body); assert.equal(r.status, 201, await r.text()); };
  await ask('PATCH', '/sluice/v1/settings/log_bodies', { value: 'all' });
  await ask('PATCH', '/sluice/v1/settings/log_clients', { value: true });
  await make('/sluice/v1/keys', { label: evil, tags: [evil] });
  await make('/sluice/v1/models', { name: evil, targets: [{ provider: 'echo', upstream_model: evil }] });
  await make('/sluice/v1/providers', { name: 'hostile', type: 'openai-compatible', base_url: `http://127.0.0.1:${server.address().port}/v1`, api_key: 'sk-none' });
  await make('/sluice/v1/models', { name: 'asks-hostile', targets: [{ provider: 'hostile', upstream_model: evil }] });
  await make('/sluice/v1/combos', { name: `combo ${evil}`, members: [{ model: evil }] });
  await make('/sluice/v1/budgets', { name: `budget ${evil}`, scope: 'tag', subject: evil, limit_usd: 1 });
  const headers = { 'user-agent': evil, 'x-session-id': evil };
  assert.equal((await ask('POST', '/v1/chat/completions', { model: evil, messages: [{ role: 'user', content: evil }] }, headers)).status, 200);
  const failed = await ask('POST', '/v1/chat/completions', { model: 'asks-hostile', messages: [{ role: 'user', content: evil }] }, headers);
  assert.equal(failed.status, 400);
  assert.equal((await say(`no ${evil}`, 'Hello')).status, 404);
  await signIn(page);
  for (const name of ['providers', 'routing', 'keys', 'cost', 'playground', 'models', 'requests']) {
    await visit(page, title(name));
    if (name === 'cost') await page.getByRole('tab', { name: 'Budgets' }).click();
    if (name !== 'playground' && name !== 'providers') await page.getByText(name === 'cost' || name === 'routing' ? new RegExp('(budget|combo) <img') : evil).first().waitFor();
  }
  const id = failed.headers.get('x-request-id');
  await page.getByRole('cell').getByText('asks-hostile').first().click();
  const beside = page.getByRole('dialog');
  await beside.getByText(id).first().waitFor();
  await beside.getByText(evil).first().waitFor(); // the provider's own words
  assert.ok(JSON.stringify(await read(`/sluice/v1/requests/${id}`)).includes('onerror'));
  await beside.getByRole('tab', { name: 'Bodies' }).click();
  await beside.getByRole('region', { name: 'From the provider', exact: true }).getByText(/onerror/).first().waitFor();
  await page.keyboard.press('Escape');
  await visit(page, 'Providers');
  await page.getByRole('link', { name: 'hostile', exact: true }).click();
  await beside.getByText(evil).first().waitFor(); // what it says it has
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Go to' }).fill('<img');
  await page.getByRole('option').getByText(evil).first().waitFor();
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.equal(await page.locator('img[src="x"]').count(), 0);
  server.closeAllConnections();
  server.close();
}
