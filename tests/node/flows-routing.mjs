// Routing: combos put in order by mouse and by keyboard, weights, chains, why a request goes where it goes, who is left alone.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ask, choose, read, say, signIn, until, visit } from './browser.mjs';

const members = async (name) => (await read(`/sluice/v1/combos/${name}`)).members.map((m) => m.model);

export async function routing({ page }) {
  for (const name of ['one', 'two', 'three']) assert.equal((await ask('POST', '/sluice/v1/models', { name, targets: [{ provider: 'echo', upstream_model: name }] })).status, 201);
  assert.equal((await ask('POST', '/sluice/v1/providers', { name: 'gone', type: 'openai-compatible', base_url: 'http://127.0.0.1:9/v1', api_key: 'sk-none' })).status, 201);
  await signIn(page, '/dashboard/routing');
  await page.getByText('No combo yet').waitFor();
  await page.getByRole('button', { name: 'Make a combo' }).first().click();
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: 'Name that clients use' }).fill('smart');
  for (const name of ['one', 'two', 'three']) {
    await form.getByRole('combobox', { name: 'Add a member' }).fill(name);
    await form.getByRole('button', { name: 'Add', exact: true }).click();
  }
  // the last is dragged to the front
  const last = await form.getByRole('button', { name: 'Move three' }).boundingBox();
  const first = await form.getByRole('button', { name: 'Move one' }).boundingBox();
  await page.mouse.move(last.x + 8, last.y + 10);
  await page.mouse.down();
  await page.mouse.move(first.x + 8, first.y + 40, { steps: 6 });
  await page.mouse.move(first.x + 8, first.y - 2, { steps: 4 });
  await page.mouse.up();
  await until(async () => (await form.getByRole('list', { name: 'Members' }).locator('.mono').allInnerTexts()).join() === 'three,one,two');
  // and by keyboard: the focus goes along
  await form.getByRole('button', { name: 'Move two' }).focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowDown');
  await until(() => page.evaluate(() => document.activeElement.getAttribute('aria-label') === 'Move two'));
  await form.getByRole('status').getByText('two: 2 / 3').waitFor();
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByText('Saved: smart').waitFor();
  assert.deepEqual(await members('smart'), ['three', 'two', 'one']);

  // weights, and a combo in a combo
  await page.getByRole('button', { name: 'smart', exact: true }).click();
  await page.waitForURL(/combo=smart/);
  await form.getByRole('combobox', { name: 'Who goes first' }).click();
  await page.getByRole('option', { name: 'weighted', exact: true }).click();
  await form.getByRole('textbox', { name: 'Weight three' }).fill('3');
  await form.getByText('60 %').waitFor();
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await form.waitFor({ state: 'detached' });
  const now = await read('/sluice/v1/combos/smart');
  assert.equal(now.strategy, 'weighted');
  assert.deepEqual(now.members.map((m) => m.weight), [3, 1, 1]);
  // a figure of its own, and back to the setting's: nothing is left of it
  await page.getByRole('button', { name: 'smart', exact: true }).click();
  await form.getByRole('button', { name: 'When one fails' }).click();
  const usual = now.max_retries;
  for (const [typed, sent] of [['4', 4], ['', null]]) {
    await form.getByRole('textbox', { name: 'Further attempts at one member' }).fill(typed);
    await form.getByRole('button', { name: 'Save', exact: true }).click();
    await form.waitFor({ state: 'detached' });
    assert.equal((await read('/sluice/v1/combos/smart')).max_retries, sent ?? usual);
    if (sent === null) break;
    await page.getByRole('button', { name: 'smart', exact: true }).click();
    await form.getByRole('button', { name: 'When one fails' }).click();
  }
  assert.equal((await ask('POST', '/sluice/v1/combos', { name: 'outer', members: [{ model: 'gone/far' }, { model: 'smart' }] })).status, 201);
  await signIn(page, '/dashboard/routing?combo=outer'); // a deep link
  await form.getByText('three, two, one').waitFor();
  await form.getByRole('link', { name: 'Where would it go?' }).click();

  // the decision, and what if
  const step = (n) => page.getByRole('region', { name: 'Decision' }).getByRole('listitem').nth(n);
  await step(0).getByText('gone').waitFor();
  await step(0).getByText('is asked').waitFor();
  await step(0).getByRole('button', { name: 'What if down?: gone' }).click();
  await page.waitForURL(/down=gone/);
  await step(0).getByText('echo', { exact: true }).waitFor();
  await step(0).getByText('is asked').waitFor();
  await page.getByText('down', { exact: true }).first().waitFor();
  await step(0).getByText('ready', { exact: true }).waitFor(); // how it stands, also of the one that is asked
  await step(0).getByText('ahead of those that are out of reach').waitFor();
  // with a key, for a task, or for a whole request: as policies see it
  assert.equal((await ask('PUT', '/sluice/v1/policies/no%20writing', { key: '0a1b2c3f', action: 'deny' })).ok, true);
  await choose(page, 'With the key', 'spare');
  await page.getByRole('alert').getByText('no writing').waitFor();
  await page.waitForURL(/key=0a1b2c3f/);
  assert.equal((await ask('DELETE', '/sluice/v1/policies/no%20writing')).status, 204);
  await page.getByRole('combobox', { name: 'For', exact: true }).click();
  await page.getByRole('option', { name: 'coding', exact: true }).click();
  await page.waitForURL(/task=coding/);
  await step(0).getByText('is asked').waitFor();
  await page.getByRole('textbox', { name: 'Or the whole request, as JSON' }).fill('{"messages": [{"role": "user", "content": "What is the weather like?"}]}');
  await step(0).getByText('is asked').waitFor();
  await until(() => page.getByRole('combobox', { name: 'For', exact: true }).isDisabled());
  await page.getByRole('textbox', { name: 'Or the whole request, as JSON' }).fill('{');
  await page.getByText('This is no JSON').waitFor();
  await page.goBack();
  await page.waitForURL(/combo=outer/);
  await form.getByRole('button', { name: 'Close', exact: true }).first().click();

  // somebody fails: it is said on the dashboard, shown here, and asked again when it is told to
  for (let i = 0; i < 6; i++) await say('outer', 'Hello');
  await page.getByRole('tab', { name: 'Breakers' }).click();
  const row = page.getByRole('row').filter({ hasText: 'gone' });
  await row.getByText(/^(left alone|on probation)$/).waitFor();
  await visit(page, 'Dashboard');
  await page.getByRole('region', { name: 'What is broken now' }).getByText(/^gone: (left alone|on probation)$/).waitFor();
  await page.getByRole('link', { name: 'Breakers' }).click();
  await page.waitForURL(/routing\/breakers$/);
  await row.getByRole('button', { name: /Ask again now/ }).click();
  await page.getByText(/^Asked again: [1-9]/).waitFor();
  assert.ok(!(await read('/sluice/v1/breakers')).data.some((b) => b.state === 'open'));

  // how far quotas are used, as the provider's replies say
  const metered = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'application/json', 'x-ratelimit-limit-requests': '100', 'x-ratelimit-remaining-requests': '25', 'x-ratelimit-reset-requests': '10m' });
    response.end(JSON.stringify({ id: 'c', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }));
  });
  await new Promise((done) => { metered.listen(0, '127.0.0.1', done); });
  assert.equal((await ask('POST', '/sluice/v1/providers', { name: 'metered', type: 'openai-compatible', base_url: `http://127.0.0.1:${metered.address().port}/v1`, api_key: 'sk-none' })).status, 201);
  assert.equal((await say('metered/m', 'Hello')).status, 200);
  const bar = page.getByRole('region', { name: 'Quota windows' }).getByRole('meter', { name: /^metered / });
  await bar.waitFor();
  assert.equal(await bar.getAttribute('aria-valuenow'), '75');
  assert.match(await bar.locator('span').getAttribute('style'), /width: 75%/);
  metered.closeAllConnections();
  metered.close();

  // a chain
  await page.getByRole('tab', { name: 'Fallback chains' }).click();
  await page.getByRole('button', { name: 'Add a chain' }).first().click();
  await form.getByRole('combobox', { name: 'Model that is asked for' }).fill('far');
  for (const name of ['echo', 'gone']) await choose(page, 'Add a provider', name);
  await form.getByRole('button', { name: 'Move gone' }).press('Home');
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByRole('button', { name: 'far', exact: true }).waitFor();
  assert.deepEqual((await read('/sluice/v1/chains/far')).chain.map((l) => l.provider), ['gone', 'echo']);

  // and away with it
  await visit(page, 'Routing');
  await page.getByRole('button', { name: 'smart', exact: true }).click();
  await form.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('dialog', { name: 'Delete this combo?' }).getByText('It leaves outer.').waitFor();
  await page.getByRole('dialog', { name: 'Delete this combo?' }).getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('button', { name: 'smart', exact: true }).waitFor({ state: 'detached' });
  assert.deepEqual(await members('outer'), ['gone/far']);
}
