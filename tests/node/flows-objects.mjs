// Objects that are changed from lists: only as they are seen there; aliases; and all that a key may be restricted to.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ask, choose, read, say, signIn, until, visit } from './browser.mjs';

const model = (name) => read(`/sluice/v1/models/${name}`);
const change = async (name, body) => assert.equal((await ask('PATCH', `/sluice/v1/models/${name}`, body)).status, 200);

export async function objectsAsSeen({ page }) {
  for (const name of ['seen-1', 'seen-2', 'seen-3']) assert.equal((await ask('POST', '/sluice/v1/models', { name, targets: [{ provider: 'echo', upstream_model: 'echo', weight: 7 }] })).status, 201);
  assert.equal((await ask('POST', '/sluice/v1/aliases', { alias: 'seen-3', to: 'echo' })).status, 201);
  await signIn(page, '/dashboard/models?q=seen-');
  const row = (name) => page.getByRole('row').filter({ hasText: name });
  const flip = (name) => page.getByRole('switch', { name: `Enabled ${name}`, exact: true }).click({ force: true });
  const refused = page.getByRole('alert').filter({ hasText: 'Somebody else changed this meanwhile' });
  await row('seen-3').getByText('hidden', { exact: true }).waitFor(); // an alias has its name
  assert.equal((await ask('DELETE', '/sluice/v1/aliases/seen-3')).status, 204);

  // one switch: refused, read again, made with the tag of what was seen, overwritten
  await change('seen-1', { context_tokens: 5000 });
  await flip('seen-1');
  await refused.waitFor();
  assert.equal((await model('seen-1')).enabled, true);
  await page.getByRole('button', { name: 'Read again' }).click();
  await row('seen-1').getByText('5000').or(row('seen-1').getByText('5,000')).waitFor();
  const isOff = async (r) => r.request().method() === 'GET' && r.url().includes('/sluice/v1/models?') && r.ok() && (await r.json()).data.some((m) => m.name === 'seen-1' && !m.enabled);
  const [sent, listed] = await Promise.all([page.waitForRequest((r) => r.method() === 'PATCH'), page.waitForResponse(isOff), flip('seen-1')]);
  assert.match((await sent.allHeaders())['if-match'], /^"[0-9a-f]+"$/);
  await until(async () => !(await model('seen-1')).enabled);
  const lists = '**/sluice/v1/models?*'; // as it was read so far, however often it is read until then
  const seen = await listed.text();
  await page.route(lists, (route) => route.fulfill({ contentType: 'application/json', body: seen }));
  await change('seen-1', { context_tokens: 6000 });
  await page.waitForFunction(() => !document.querySelector('[aria-label="Enabled seen-1"]').checked);
  await flip('seen-1');
  await refused.waitFor();
  await page.unroute(lists);
  await page.getByRole('button', { name: 'Overwrite' }).click();
  await until(async () => (await model('seen-1')).enabled);
  await refused.waitFor({ state: 'detached' });
  await row('seen-1').getByText('6000').or(row('seen-1').getByText('6,000')).waitFor();

  // many at once: those that nobody else changed go, of the others it is asked
  for (const n of [1, 2, 3]) await page.getByRole('checkbox', { name: `Choose seen-${n}`, exact: true }).check();
  await change('seen-2', { context_tokens: 7000 });
  const bar = page.getByRole('toolbar', { name: 'Actions' });
  await bar.getByRole('button', { name: 'Disable', exact: true }).click();
  await page.getByRole('dialog', { name: 'seen-2' }).getByRole('button', { name: 'Overwrite' }).waitFor();
  assert.deepEqual([(await model('seen-1')).enabled, (await model('seen-2')).enabled, (await model('seen-3')).enabled], [false, true, false]);
  await page.getByRole('button', { name: 'Overwrite' }).click();
  await bar.waitFor({ state: 'detached' });
  assert.equal((await model('seen-2')).enabled, false);

  // a form keeps what it does not show: the target's own weight
  await row('seen-1').getByText('seen-1').click();
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: 'Context' }).fill('8000');
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await form.waitFor({ state: 'detached' });
  assert.deepEqual([(await model('seen-1')).context_tokens, (await model('seen-1')).targets[0].weight], [8000, 7]);
  await row('seen-1').getByText('8000').or(row('seen-1').getByText('8,000')).waitFor(); // the list knows it
  await row('seen-1').getByText('seen-1').click();
  await form.getByRole('textbox', { name: 'Context' }).fill(''); // and what is emptied is gone
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await form.waitFor({ state: 'detached' });
  assert.equal((await model('seen-1')).context_tokens, -1);

  // away with two of them, one of which somebody else just changed
  await page.getByRole('textbox', { name: 'Search' }).fill('seen-');
  for (const n of [1, 3]) await page.getByRole('checkbox', { name: `Choose seen-${n}`, exact: true }).check();
  await change('seen-3', { context_tokens: 9000 });
  await bar.getByRole('button', { name: 'Delete' }).click();
  const sure = page.getByRole('dialog', { name: 'Delete this model?' });
  await sure.getByRole('button', { name: 'Delete', exact: true }).click();
  await sure.getByRole('button', { name: 'Overwrite' }).click();
  await sure.waitFor({ state: 'detached' });
  assert.deepEqual([(await ask('GET', '/sluice/v1/models/seen-1')).status, (await ask('GET', '/sluice/v1/models/seen-3')).status], [404, 404]);

  // the other switches send what they saw as well
  for (const [path, name] of [['Providers', 'echo'], ['Keys', 'spare']]) {
    await visit(page, path);
    const box = page.getByRole('switch', { name: `Enabled ${name}`, exact: true });
    await box.waitFor();
    const was = await box.isChecked();
    for (const isOn of [!was, was]) {
      const [r] = await Promise.all([page.waitForRequest((x) => x.method() === 'PATCH'), flip(name)]);
      assert.match((await r.allHeaders())['if-match'] ?? '', /^"[0-9a-f]+"$/, path);
      await page.waitForFunction(([n, on]) => document.querySelector(`[aria-label="Enabled ${n}"]`)?.checked === on, [name, isOn]);
    }
  }

  // aliases
  await visit(page, 'Models');
  await page.getByRole('tab', { name: 'Aliases' }).click();
  await page.getByRole('button', { name: 'Add an alias' }).click();
  await form.getByRole('textbox', { name: 'alias' }).fill('gpt-4*');
  await form.getByRole('textbox', { name: 'Stands for' }).fill('seen-2');
  await form.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('button', { name: 'gpt-4*', exact: true }).click();
  await form.getByRole('textbox', { name: 'Stands for' }).fill('echo');
  await form.getByRole('textbox', { name: 'Priority' }).fill('3');
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await form.waitFor({ state: 'detached' });
  await page.getByRole('row').filter({ hasText: 'gpt-4*' }).getByText('echo', { exact: true }).waitFor(); // what the row showed before is changed no more
  await flip('gpt-4*');
  await until(async () => { const a = await read('/sluice/v1/aliases/gpt-4*'); return a.to === 'echo' && a.priority === 3 && !a.enabled; });
  await page.getByRole('button', { name: 'Delete gpt-4*' }).click();
  await page.getByRole('dialog', { name: 'Delete this alias?' }).getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('button', { name: 'gpt-4*', exact: true }).waitFor({ state: 'detached' });

  // a key with every restriction; what a later change does not touch stays
  await visit(page, 'Keys');
  await page.getByRole('button', { name: 'Create a key' }).first().click();
  await form.getByRole('textbox', { name: 'Label' }).fill('restricted');
  await form.getByRole('button', { name: /^Limits and times/ }).click();
  await form.getByRole('textbox', { name: 'Requests a minute' }).fill('60');
  await form.getByRole('textbox', { name: 'Conversations at once' }).fill('4');
  await choose(page, 'Only these providers', 'echo');
  await page.keyboard.press('Escape');
  await form.getByRole('combobox', { name: 'Only from these addresses' }).fill('127.0.0.0/8');
  await page.keyboard.press('Enter');
  await form.getByRole('switch', { name: 'Kept, but not in force' }).check({ force: true });
  await choose(page, 'Bodies of its requests are kept', 'when they fail');
  await form.getByRole('switch', { name: 'Without the operator’s system prompt' }).check({ force: true });
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByText('shown only now').waitFor();
  await form.getByRole('button', { name: 'Close' }).last().click();
  const made = (await read('/sluice/v1/keys')).data.find((k) => k.label === 'restricted');
  const told = (k) => [k.limits, k.providers, k.allowed_ips, k.schedule.paused ?? false, k.log_bodies, k.no_system_prompt];
  assert.deepEqual(told(made), [{ requests_per_minute: 60, sessions: 4 }, ['echo'], ['127.0.0.0/8'], true, 'errors', true]);
  await page.getByText('restricted').click();
  await form.getByRole('textbox', { name: 'Label' }).fill('still restricted');
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('Saved: still restricted').waitFor();
  // nor what no form shows: every limit there is is kept
  assert.equal((await ask('PATCH', `/sluice/v1/keys/${made.id}`, { limits: { ...made.limits, requests_per_hour: 7, tokens_per_day: 9000 } })).status, 200);
  await signIn(page, `/dashboard/keys/${made.id}`);
  await until(async () => (await form.getByRole('textbox', { name: 'Requests an hour' }).inputValue()) === '7');
  await form.getByRole('textbox', { name: 'Requests a minute' }).fill('61');
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await until(async () => { const { limits } = await read(`/sluice/v1/keys/${made.id}`); return limits.requests_per_minute === 61 && limits.requests_per_hour === 7 && limits.tokens_per_day === 9000 && limits.sessions === 4; });
  assert.equal((await ask('PATCH', `/sluice/v1/keys/${made.id}`, { limits: made.limits })).status, 200);
  assert.deepEqual(told(await read(`/sluice/v1/keys/${made.id}`)), told(made));
}

/** Whose state, key and models are shown how: cards, credentials, models that are free or lack a key, those that a provider says it has. */
export async function marks({ page }) {
  const upstream = createServer((request, response) => { // one that says what it has
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ object: 'list', data: [{ id: 'found-1', object: 'model' }, { id: 'found-2', object: 'model' }] }));
  });
  await new Promise((done) => { upstream.listen(0, '127.0.0.1', done); });
  const make = async (path, body) => { const r = await ask('POST', path, body); assert.ok(r.ok, await r.text()); };
  await make('/sluice/v1/providers', { name: 'finder', type: 'openai-compatible', base_url: `http://127.0.0.1:${upstream.address().port}/v1`, api_key: 'sk-a-key-that-is-masked' });
  await make('/sluice/v1/providers', { name: 'keyless', type: 'groq' });
  await make('/sluice/v1/models', { name: 'lacks-a-key', targets: [{ provider: 'keyless', upstream_model: 'x' }] });
  await make('/sluice/v1/models', { name: 'gratis', targets: [{ provider: 'echo', upstream_model: 'gratis' }] });
  await make('/sluice/v1/prices', { provider: 'echo', model: 'gratis', price: { input: 0, output: 0 } });
  assert.equal((await say('gratis', 'Hello')).status, 200);
  await signIn(page, '/dashboard/providers');
  await page.getByText('healthy', { exact: true }).first().waitFor(); // the echo has just answered
  await page.getByRole('button', { name: 'Test finder' }).click();
  await page.getByText(/^finder: Answered in/).waitFor();
  await page.getByRole('link', { name: 'finder', exact: true }).click();
  const beside = page.getByRole('dialog', { name: 'finder' });
  assert.ok(!(await page.content()).includes('sk-a-key-that-is-masked'));
  await beside.getByRole('button', { name: 'Reveal' }).click();
  await beside.getByText('Credential visibility is disabled').waitFor();
  assert.equal((await ask('PATCH', '/sluice/v1/settings/credential_visible', { value: true })).status, 200);
  await beside.getByRole('button', { name: 'Reveal' }).click();
  await beside.getByText('sk-a-key-that-is-masked').waitFor();
  await beside.getByRole('button', { name: 'Hide' }).click();
  await beside.getByText('sk-a-key-that-is-masked').waitFor({ state: 'detached' });
  assert.equal((await ask('PATCH', '/sluice/v1/settings/credential_visible', { value: null })).status, 200);
  await beside.getByRole('checkbox', { name: 'Choose found-1' }).check();
  await beside.getByRole('button', { name: 'Serve 1' }).click();
  await beside.getByRole('row').filter({ hasText: 'found-1' }).getByText('served', { exact: true }).waitFor();
  await until(() => beside.getByRole('checkbox', { name: 'Choose found-2' }).isEnabled());
  await beside.getByRole('tab', { name: /^Served under a name/ }).click(); // beside them those that are served
  await beside.getByRole('row').filter({ hasText: 'found-1' }).waitFor();
  await page.keyboard.press('Escape');
  await beside.waitFor({ state: 'detached' });
  await visit(page, 'Dashboard');
  const broken = page.getByRole('region', { name: 'What is broken now' });
  await broken.getByText('keyless: credential missing').waitFor();
  await visit(page, 'Models');
  const row = (name) => page.getByRole('row').filter({ hasText: name });
  await row('lacks-a-key').getByText('no credential').waitFor();
  await row('gratis').getByText('free', { exact: true }).waitFor();
  await page.getByRole('combobox', { name: 'State' }).click();
  await page.getByRole('option', { name: 'no credential' }).click();
  await page.getByText('1 found').waitFor();
  // free means: whoever of its targets is asked; served means: somebody can be
  await make('/sluice/v1/providers', { name: 'resting', type: 'echo' });
  await make('/sluice/v1/models', { name: 'half-free', targets: [{ provider: 'echo', upstream_model: 'gratis' }, { provider: 'resting', upstream_model: 'dear' }] });
  await make('/sluice/v1/prices', { provider: 'resting', model: 'dear', price: { input: 1, output: 1 } });
  await make('/sluice/v1/models', { name: 'at-rest', targets: [{ provider: 'resting', upstream_model: 'echo' }] });
  await signIn(page, '/dashboard/models');
  await row('half-free').waitFor();
  await row('gratis').getByText('free', { exact: true }).waitFor();
  assert.equal(await row('half-free').getByText('free', { exact: true }).count(), 0);
  await visit(page, 'Providers');
  await page.getByRole('button', { name: 'Test resting' }).click();
  await page.getByText(/^resting: Answered in/).waitFor(); // by one of its models
  assert.equal((await ask('PATCH', '/sluice/v1/providers/resting', { enabled: false })).status, 200);
  await signIn(page, '/dashboard/providers');
  await until(() => page.getByRole('button', { name: 'Test resting' }).isDisabled());
  await visit(page, 'Models');
  await row('at-rest').getByText('nobody serves it').waitFor();
  await page.getByRole('tab', { name: /^resting/ }).getByText('1/2', { exact: true }).waitFor();
  upstream.closeAllConnections();
  upstream.close();
}
