// What stands around the serving of models: policies, organisations and users, proxies, the address filter, the cache, limits in force,
// the advanced parts of forms, and whether the ledger holds.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ask, choose, read, say, signIn, until, visit } from './browser.mjs';

const made = async (path, body, method = 'POST') => { const r = await ask(method, `/sluice/v1/${path}`, body); const text = await r.text(); assert.ok(r.ok, text); return JSON.parse(text); };
const set = (name, value) => made(`settings/${name}`, { value }, 'PATCH');
const isGone = async (path) => (await ask('GET', `/sluice/v1/${path}`)).status === 404;

/** Refused, led elsewhere, switched off, changed by somebody else meanwhile, away with it. */
export async function policies({ page }) {
  await made('models', { name: 'costly', targets: [{ provider: 'echo', upstream_model: 'echo' }] });
  await signIn(page, '/dashboard/routing/policies');
  await page.getByText('No policy', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Add a policy' }).first().click();
  await page.waitForURL(/new=policy/);
  const form = page.getByRole('dialog', { name: 'Add a policy' });
  await form.getByRole('textbox', { name: 'Name' }).fill('no costly ones');
  await form.getByRole('combobox', { name: 'What a client asks for' }).fill('costly*');
  await page.keyboard.press('Escape'); // the list of what is there
  await choose(page, 'Key', 'expiring');
  await form.getByRole('region', { name: 'Policy' }).getByText('refused').waitFor();
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByText('Saved: no costly ones').waitFor();
  assert.equal((await say('costly', 'Hello')).status, 403);

  // elsewhere instead
  await page.getByRole('button', { name: 'no costly ones', exact: true }).click();
  await page.waitForURL(/policy=no/);
  const edit = page.getByRole('dialog', { name: 'no costly ones' });
  await edit.getByText('They go elsewhere').click();
  await edit.getByRole('combobox', { name: 'Target' }).fill('echo');
  await edit.getByRole('button', { name: 'Save', exact: true }).click();
  await edit.waitFor({ state: 'detached' });
  const now = await read('/sluice/v1/policies/no%20costly%20ones');
  assert.deepEqual([now.model, now.key, now.task, now.action, now.target, now.enabled], ['costly*', '0a1b2c3e', 'any', 'route', 'echo', true]);
  assert.equal((await say('costly', 'Hello')).status, 200);

  // under another name: one of the two is there
  await page.getByRole('button', { name: 'no costly ones', exact: true }).click();
  await edit.getByRole('textbox', { name: 'Name' }).fill('dear models');
  await edit.getByText('Under the new name it is made anew').waitFor();
  await edit.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('Saved: dear models').waitFor();
  assert.ok(await isGone('policies/no%20costly%20ones'));
  const renamed = await read('/sluice/v1/policies/dear%20models');
  assert.deepEqual([renamed.model, renamed.key, renamed.action, renamed.target], ['costly*', '0a1b2c3e', 'route', 'echo']);

  // off, and another that names a task which nothing looks at so far
  await page.getByRole('switch', { name: 'Enabled dear models' }).click({ force: true });
  await until(async () => !(await read('/sluice/v1/policies/dear%20models')).enabled);
  await made('policies/by%20task', { task: 'coding', action: 'deny' }, 'PUT');
  await signIn(page, '/dashboard/routing/policies?policy=by%20task'); // a deep link
  const task = page.getByRole('dialog', { name: 'by task' });
  await task.getByRole('link', { name: 'task_routing' }).waitFor();
  // somebody else changes it meanwhile
  await made('policies/by%20task', { task: 'coding', action: 'deny', priority: 5 }, 'PUT');
  await task.getByRole('textbox', { name: 'Priority' }).fill('9');
  await task.getByRole('button', { name: 'Save', exact: true }).click();
  await task.getByRole('alert').getByText('Somebody else changed this meanwhile').waitFor();
  await task.getByRole('button', { name: 'Read again' }).click();
  await page.waitForFunction(() => [...document.querySelectorAll('[role=dialog] input')].some((i) => i.value === '5'));
  await task.getByRole('button', { name: 'Delete', exact: true }).click();
  const sure = page.getByRole('dialog', { name: 'Delete this policy?' });
  await sure.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('button', { name: 'by task', exact: true }).waitFor({ state: 'detached' });
  assert.ok(await isGone('policies/by%20task'));
}

/** Made, limited, given a budget, switched off; whom they lose when they go. */
export async function holders({ page }) {
  await signIn(page, '/dashboard/');
  await visit(page, 'Organisations & users');
  await page.getByRole('button', { name: 'Add an organisation' }).first().click();
  let form = page.getByRole('dialog', { name: 'Add an organisation' });
  await form.getByRole('textbox', { name: 'Name' }).fill('Acme');
  await form.getByRole('textbox', { name: 'Requests an hour' }).fill('500');
  await form.getByRole('button', { name: 'Advanced' }).click();
  await form.getByRole('textbox', { name: 'Id' }).fill('acme');
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByText('Saved: Acme').waitFor();
  assert.equal((await read('/sluice/v1/orgs/acme')).limits.requests_per_hour, 500);
  await page.getByRole('tab', { name: 'Users' }).click();
  await page.waitForURL(/orgs\/users$/);
  await page.getByRole('button', { name: 'Add a user' }).first().click();
  form = page.getByRole('dialog', { name: 'Add a user' });
  await form.getByRole('textbox', { name: 'Name' }).fill('Ann');
  await choose(page, 'Organisation', 'Acme');
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await form.waitFor({ state: 'detached' });
  const ann = (await read('/sluice/v1/users')).data.find((u) => u.name === 'Ann');
  assert.equal(ann.org, 'acme');
  const key = await made('keys', { label: 'of acme', org: 'acme', user: ann.id });

  // its drawer: keys, a budget that is made for it, a limit that is changed while the others stay
  await page.goto(page.url().replace(/orgs\/users.*/, 'orgs?id=acme'));
  await signIn(page, '/dashboard/orgs?id=acme');
  const drawer = page.getByRole('dialog', { name: 'Acme' });
  await drawer.getByRole('link', { name: 'of acme' }).waitFor();
  await drawer.getByRole('textbox', { name: 'Requests a minute' }).fill('30');
  await drawer.getByRole('button', { name: 'Save', exact: true }).click();
  await drawer.waitFor({ state: 'detached' });
  const { limits } = await read('/sluice/v1/orgs/acme');
  assert.deepEqual([limits.requests_per_minute, limits.requests_per_hour], [30, 500]);
  const row = page.getByRole('row').filter({ hasText: 'Acme' });
  await row.getByText(/30 req\/min, 500 req\/h/).waitFor();
  await row.click();
  await drawer.getByRole('link', { name: 'Add a budget' }).click();
  const budget = page.getByRole('dialog', { name: 'Add a budget' });
  await budget.getByRole('textbox', { name: 'Name' }).fill('acme a month');
  await budget.getByRole('textbox', { name: 'At most' }).fill('20');
  await budget.getByRole('button', { name: 'Create', exact: true }).click();
  await budget.waitFor({ state: 'detached' });
  const its = await read('/sluice/v1/budgets/acme%20a%20month');
  assert.deepEqual([its.scope, its.subject], ['org', 'acme']);

  // off: its keys open nothing; and what goes with it
  await visit(page, 'Organisations & users');
  await row.getByText('$0.00 / $20.00').waitFor();
  await page.getByRole('switch', { name: 'Enabled Acme' }).click({ force: true });
  await until(async () => !(await read('/sluice/v1/orgs/acme')).enabled);
  await page.getByRole('button', { name: 'Delete Acme' }).click();
  const sure = page.getByRole('dialog', { name: 'Delete this organisation?' });
  await sure.getByRole('region', { name: 'These keys go on without it:' }).getByText('of acme').waitFor();
  await sure.getByRole('region', { name: 'These users go on without it:' }).getByText('Ann').waitFor();
  await sure.getByRole('region', { name: 'These budgets go with it:' }).getByText('acme a month').waitFor();
  await sure.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('No organisation').waitFor();
  assert.ok(await isGone('budgets/acme%20a%20month'));
  assert.equal((await read(`/sluice/v1/keys/${key.id}`)).org, '');
}

/** A proxy of our own that says how we are seen, and fails when it is told to. */
function startProxy() {
  const seen = { status: 200 };
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(seen.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ip: '203.0.113.9', query: '203.0.113.9', country: 'Atlantis' }));
  });
  return new Promise((done) => { server.listen(0, '127.0.0.1', () => done({ seen, port: server.address().port, close: () => { server.closeAllConnections(); server.close(); } })); });
}

/** Proxies: made, tried, who goes through; the way out; addresses that may come in, and bans. */
export async function ways({ page }) {
  const proxy = await startProxy();
  await set('diagnostics_ip_url', 'http://ip.example/json');
  await set('diagnostics_connect_url', '');
  await signIn(page, '/dashboard/settings/proxies');
  await page.getByRole('button', { name: 'Add a proxy' }).first().click();
  const form = page.getByRole('dialog', { name: 'Add a proxy' });
  await form.getByRole('textbox', { name: 'Name' }).fill('office');
  await form.getByRole('textbox', { name: 'Address' }).fill(`http://ann:secret-of-ann@127.0.0.1:${proxy.port}`);
  await form.getByRole('textbox', { name: 'Where it stands' }).fill('Berlin');
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByText('Saved: office').waitFor();
  assert.ok(!(await page.content()).includes('secret-of-ann'));
  await page.getByText('Nobody goes through it.').waitFor();
  await page.getByRole('button', { name: 'Test office' }).click();
  await page.getByText('Seen as 203.0.113.9').waitFor();
  proxy.seen.status = 502;
  await page.getByRole('button', { name: 'Test office' }).click();
  await page.getByText('office: no answer came through it').waitFor();
  proxy.seen.status = 200;

  // who names it keeps it; without its credentials typed again they stay
  await made('providers', { name: 'through', type: 'openai-compatible', base_url: 'http://127.0.0.1:9/v1', proxy: 'office' });
  await signIn(page, '/dashboard/settings/proxies?proxy=office');
  const edit = page.getByRole('dialog', { name: 'office' });
  await edit.getByRole('link', { name: 'through' }).waitFor();
  await edit.getByRole('textbox', { name: 'Note' }).fill('on the second floor');
  await edit.getByRole('button', { name: 'Save', exact: true }).click();
  await edit.waitFor({ state: 'detached' });
  assert.equal((await read('/sluice/v1/proxies/office')).notes, 'on the second floor');
  await set('proxy', 'office');
  await page.getByRole('button', { name: 'Try it' }).click();
  const out = page.getByRole('region', { name: 'The way out' });
  await out.getByText('203.0.113.9').waitFor();
  await out.getByText('Atlantis').waitFor();
  await set('proxy', null);
  await page.getByRole('button', { name: 'office', exact: true }).click();
  await edit.getByRole('button', { name: 'Delete', exact: true }).click();
  const sure = page.getByRole('dialog', { name: 'Delete this proxy?' });
  await sure.getByText('through', { exact: true }).waitFor();
  await sure.getByRole('button', { name: 'Delete', exact: true }).click();
  await sure.getByRole('alert').getByText(/is used by provider 'through'/).waitFor();
  assert.equal((await ask('DELETE', '/sluice/v1/providers/through')).status, 204);
  await sure.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('No named proxy').waitFor();
  proxy.close();

  // the filter: what would turn ourselves away is asked about, with the request that means it
  await page.getByRole('tab', { name: 'Address filter' }).click();
  await choose(page, 'Who may come in', 'All but those that are denied');
  await page.getByRole('combobox', { name: 'Denied' }).or(page.getByRole('textbox', { name: 'Denied' })).fill('203.0.113.0/24');
  await page.keyboard.press('Enter');
  const filter = '**/sluice/v1/ip-filter';
  await page.route(filter, (route) => (route.request().method() === 'PUT' ? route.fulfill({ status: 409, contentType: 'application/json', body: JSON.stringify({ error: { code: 'locks_you_out', message: 'This would turn away your own address' } }) }) : route.continue()));
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const locks = page.getByRole('dialog', { name: 'This turns you away' });
  await locks.getByRole('button', { name: 'Save it nevertheless' }).click();
  await page.getByText('Saved: Address filter').waitFor();
  await page.unroute(filter);
  assert.deepEqual(await read('/sluice/v1/ip-filter'), { mode: 'deny', allow: [], deny: ['203.0.113.0/24'] });
  await choose(page, 'Who may come in', 'Everybody');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await until(async () => (await read('/sluice/v1/ip-filter')).mode === 'off');

  // bans: refused with the server's reason, made, lifted
  const bans = page.getByRole('region', { name: 'Bans' });
  await bans.getByRole('textbox', { name: 'Address' }).fill('no address');
  await bans.getByRole('button', { name: 'Ban', exact: true }).click();
  await bans.getByRole('alert').getByText(/must be an address/).waitFor();
  await bans.getByRole('textbox', { name: 'Address' }).fill('203.0.113.7');
  await bans.getByRole('textbox', { name: 'How long' }).fill('2');
  await bans.getByRole('textbox', { name: 'Why' }).fill('too many tries');
  await bans.getByRole('button', { name: 'Ban', exact: true }).click();
  await bans.getByRole('cell', { name: '203.0.113.7', exact: true }).waitFor();
  const [ban] = (await read('/sluice/v1/ip-filter/bans')).data;
  assert.ok(ban.reason === 'too many tries' && ban.remaining_ms > 3_600_000 && ban.remaining_ms <= 7_200_000);
  await bans.getByRole('button', { name: 'Lift 203.0.113.7' }).click();
  await bans.getByText('Nobody is banned').waitFor();
}

/** How the cache serves, and forgetting; limits in force; the log emptied. */
export async function kept({ page }) {
  await set('response_cache', true);
  assert.equal((await say('echo', 'the same question', { temperature: 0 })).status, 200);
  await until(async () => (await read('/sluice/v1/cache')).layers.find((l) => l.layer === 'response').entries === 1);
  assert.equal((await say('echo', 'the same question', { temperature: 0 })).status, 200);
  await signIn(page, '/dashboard/settings/cache');
  const row = page.getByRole('row').filter({ hasText: 'Equal requests' });
  await row.getByText('Enabled').waitFor();
  const cells = () => row.getByRole('cell').allInnerTexts();
  await until(async () => { const c = await cells(); return c[2] === '1' && c[4] === '1'; });
  await page.getByRole('button', { name: 'Set figures to zero' }).click();
  await page.getByText('The figures begin at zero').waitFor();
  await until(async () => (await cells())[4] === '0');
  await page.getByRole('button', { name: 'Forget answers' }).click();
  const sure = page.getByRole('dialog', { name: 'Forget answers' });
  await sure.getByRole('combobox', { name: 'Only of this model' }).fill('another');
  await sure.getByRole('button', { name: 'Forget', exact: true }).click();
  await page.getByText('Answers forgotten: 0').waitFor();
  await page.getByRole('button', { name: 'Forget answers' }).click();
  await sure.getByRole('combobox', { name: 'Only of this model' }).fill('');
  await sure.getByRole('button', { name: 'Forget', exact: true }).click();
  await page.getByText('Answers forgotten: 1').waitFor();
  await set('response_cache', false);

  await made('orgs', { id: 'bounded', name: 'Bounded', limits: { requests_per_hour: 4 } });
  const { id, key: secret } = await made('keys', { label: 'of bounded', org: 'bounded' });
  for (let i = 0; i < 3; i++) assert.equal((await ask('POST', '/v1/chat/completions', { model: 'echo', messages: [{ role: 'user', content: 'Hello' }] }, { authorization: `Bearer ${secret}` })).status, 200);
  await page.getByRole('tab', { name: 'Limits' }).click();
  const meter = page.getByRole('meter', { name: 'Bounded Requests an hour' });
  await meter.waitFor();
  await until(async () => (await meter.getAttribute('aria-valuenow')) === '75');
  await page.getByRole('row').filter({ hasText: 'Bounded' }).click(); // to where it is set
  await page.getByRole('dialog', { name: 'Bounded' }).waitFor();
  await page.waitForFunction(() => document.activeElement?.closest('[role=dialog]'));
  await page.keyboard.press('Escape');

  await visit(page, 'Requests');
  await page.getByRole('table', { name: 'Requests' }).getByRole('cell').getByText('echo').first().waitFor();
  await until(async () => (await read(`/sluice/v1/requests?key=${id}`)).data.length === 3); // nothing is written later
  await page.getByRole('button', { name: 'Empty the log' }).click();
  await page.getByRole('dialog', { name: 'Empty the request log?' }).getByRole('button', { name: 'Empty the log' }).click();
  await page.getByText('No request yet').waitFor();
  assert.equal((await read('/sluice/v1/requests')).data.length, 0);
}

/** What only few need of models, providers and combos; and that a form leaves what it does not show. */
export async function advanced({ page }) {
  await made('models', { name: 'tuned', targets: [{ provider: 'echo', upstream_model: 'a' }, { provider: 'echo', upstream_model: 'b' }] });
  await made('providers', { name: 'quirky', type: 'openai-compatible', base_url: 'http://127.0.0.1:9/v1', quirks: { developer_role: true } });
  await made('combos', { name: 'told', members: [{ model: 'echo' }] });
  await signIn(page, '/dashboard/models/tuned');
  const model = page.getByRole('dialog', { name: 'Edit: tuned' });
  await model.getByRole('button', { name: 'Advanced' }).click();
  await choose(page, 'Who goes first', 'weighted');
  await model.getByRole('textbox', { name: 'Weight 2' }).fill('3');
  await model.getByRole('textbox', { name: 'Priority 1' }).fill('4');
  await model.getByRole('textbox', { name: 'Tokens a day' }).fill('1000');
  await model.getByRole('button', { name: 'Save', exact: true }).click();
  await model.waitFor({ state: 'detached' });
  const now = await read('/sluice/v1/models/tuned');
  assert.deepEqual([now.strategy, now.targets[1].weight, now.targets[0].priority, now.limits.tokens_per_day], ['weighted', 3, 4, 1000]);

  await signIn(page, '/dashboard/providers');
  await page.getByRole('button', { name: 'Edit quirky' }).click();
  const provider = page.getByRole('dialog', { name: 'Edit: quirky' });
  await provider.getByText('developer_role').first().waitFor(); // open, since something is set
  await choose(page, 'Format to speak', 'openai_responses');
  await provider.getByRole('textbox', { name: 'Weight' }).fill('5');
  await provider.getByRole('textbox', { name: 'At once', exact: true }).fill('2');
  await provider.getByRole('combobox', { name: 'It has not' }).or(provider.getByRole('textbox', { name: 'It has not' })).fill('top_k');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await provider.getByRole('button', { name: 'Save', exact: true }).click();
  await provider.waitFor({ state: 'detached' });
  const p = await read('/sluice/v1/providers/quirky');
  assert.deepEqual([p.wires[0], p.weight, p.priority, p.limits.concurrency, p.quirks], ['openai_responses', 5, 0, 2, { developer_role: true, top_k: false }]);

  await visit(page, 'Routing');
  await page.getByRole('button', { name: 'told', exact: true }).click();
  const combo = page.getByRole('dialog', { name: 'told' });
  await combo.getByRole('button', { name: 'When one fails' }).click();
  await combo.getByRole('textbox', { name: 'Silence after which' }).fill('800');
  await combo.getByRole('button', { name: 'Advanced' }).click();
  await combo.getByRole('textbox', { name: 'System message' }).fill('Answer in one sentence.');
  await combo.getByRole('textbox', { name: 'Tools that go along' }).fill('^read_');
  await combo.getByRole('button', { name: 'Save', exact: true }).click();
  await combo.waitFor({ state: 'detached' });
  const c = await read('/sluice/v1/combos/told');
  assert.deepEqual([c.hedge_after_ms, c.system_message, c.tool_filter], [800, 'Answer in one sentence.', '^read_']);
}

/** The ledger computed again; a span priced again, looked at and then written. */
export async function books({ page }) {
  await made('providers', { name: 'books', type: 'echo' });
  await made('models', { name: 'unpriced', targets: [{ provider: 'books', upstream_model: 'echo' }] });
  assert.equal((await say('unpriced', 'A question of some words')).status, 200);
  await until(async () => (await read('/sluice/v1/ledger')).data.some((l) => l.model === 'unpriced'));
  await made('prices', { provider: 'books', model: '*', price: { input: 1000, output: 2000 } });
  await signIn(page, '/dashboard/cost/ledger');
  await page.getByRole('button', { name: 'Verify', exact: true }).click();
  await page.getByRole('region', { name: 'Verify the ledger' }).getByText('everything comes out as it stands').waitFor();
  const again = page.getByRole('region', { name: 'Price a span again' });
  await again.getByRole('combobox', { name: 'Model' }).fill('unpriced');
  await page.keyboard.press('Escape');
  await again.getByRole('button', { name: 'See what changes' }).click();
  await again.getByText(/^\+\$/).waitFor();
  const cost = async () => (await read('/sluice/v1/costs?model=unpriced&bucket=total')).total_nanousd;
  assert.ok(!(await cost())); // only computed
  await again.getByRole('button', { name: 'Write the differences' }).click();
  await page.getByRole('dialog', { name: 'Write the differences' }).getByRole('button', { name: 'Write the differences' }).click();
  await again.getByText('The differences are written').waitFor();
  await until(async () => (await cost()) > 0);
  await again.getByRole('button', { name: 'See what changes' }).click();
  await again.getByText('Nothing comes to another amount.').waitFor();
}
