// Operators and one's own password; and two who change the same object at the same time.
import assert from 'node:assert/strict';
import { ask, choose, open, origin, read, signIn, until, visit } from './browser.mjs';

export async function people({ page, context, browser }) {
  await signIn(page, '/dashboard/settings/operators');
  await page.getByRole('row', { name: /^admin/ }).getByText('you', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'admin', exact: true }).click();
  const form = page.getByRole('dialog');
  await form.getByText('It is changed there.').waitFor(); // its password stands in the file
  assert.ok(await form.getByRole('button', { name: 'Save', exact: true }).isDisabled());
  await form.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Add an operator' }).click();
  await form.getByRole('textbox', { name: 'Name' }).fill('ann');
  await form.getByRole('textbox', { name: 'Password', exact: true }).fill('the first of ann');
  await form.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByRole('row', { name: /^ann/ }).getByText('viewer').waitFor();

  // ann as a viewer: what she may not do is out of use, and says why
  const looks = await open(browser);
  await looks.page.goto(`${origin}/dashboard/keys`);
  await looks.page.getByRole('textbox', { name: 'Name' }).fill('ann');
  await looks.page.getByRole('textbox', { name: 'Password' }).fill('the first of ann');
  await looks.page.getByRole('button', { name: 'Sign in' }).click();
  const add = looks.page.getByRole('button', { name: 'Create a key' });
  await add.waitFor();
  await until(() => add.isDisabled());
  assert.ok(await looks.page.getByRole('switch', { name: /^Enabled / }).first().isDisabled());
  await looks.page.getByRole('row', { name: /tests/ }).click();
  const seen = looks.page.getByRole('dialog');
  await seen.getByRole('note').getByText('This takes the role admin').waitFor();
  assert.ok(await seen.getByRole('textbox', { name: 'Label' }).isDisabled() && await seen.getByRole('button', { name: 'Save', exact: true }).isDisabled());
  await looks.page.keyboard.press('Escape');
  await seen.waitFor({ state: 'detached' });
  await visit(looks.page, 'Playground');
  await looks.page.getByRole('textbox', { name: 'Your message' }).fill('Hello');
  const send = looks.page.getByRole('button', { name: 'Send' });
  await send.waitFor();
  assert.ok(await send.isDisabled());
  await looks.page.evaluate((to) => history.pushState(null, '', to), `${origin}/dashboard/start`);
  await looks.page.getByRole('button', { name: /^Groq/ }).click();
  await looks.page.getByRole('note').getByText('This takes the role admin').waitFor();
  assert.ok(await looks.page.getByRole('button', { name: 'Add and go on' }).isDisabled());
  await looks.context.close();

  await page.getByRole('button', { name: 'ann', exact: true }).click();
  await choose(page, 'Role', 'admin');
  await form.getByRole('textbox', { name: 'New password', exact: true }).fill('the second of ann');
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('row', { name: /^ann/ }).getByText('admin', { exact: true }).waitFor();

  // ann: sees no operators, changes her own password, and is out when she is switched off
  const hers = await open(browser);
  const enter = async (password) => {
    await hers.page.goto(`${origin}/dashboard/settings/operators`);
    await hers.page.getByRole('textbox', { name: 'Name' }).fill('ann');
    await hers.page.getByRole('textbox', { name: 'Password' }).fill(password);
    await hers.page.getByRole('button', { name: 'Sign in' }).click();
  };
  await enter('the second of ann');
  await hers.page.getByText('Only owners see and change operators.').waitFor();
  await hers.page.getByRole('button', { name: 'Change my password' }).click();
  const own = hers.page.getByRole('dialog');
  await own.getByRole('textbox', { name: 'Password so far', exact: true }).fill('the first of ann');
  await own.getByRole('textbox', { name: 'New password', exact: true }).fill('the third of ann');
  await own.getByRole('textbox', { name: 'The same again', exact: true }).fill('the third of ann');
  await own.getByRole('button', { name: 'Save', exact: true }).click();
  await own.getByRole('alert').waitFor(); // that is not what it is now
  await own.getByRole('textbox', { name: 'Password so far', exact: true }).fill('the second of ann');
  await own.getByRole('button', { name: 'Save', exact: true }).click();
  await hers.page.getByText('The password is changed').waitFor();
  await hers.page.getByRole('button', { name: 'Sign out' }).click();
  await enter('the third of ann');
  await hers.page.getByText('Only owners see and change operators.').waitFor();
  await page.getByRole('button', { name: 'ann', exact: true }).click();
  await form.getByRole('switch', { name: 'May sign in' }).click({ force: true });
  await form.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('row', { name: /^ann/ }).getByText('Disabled', { exact: true }).waitFor();
  await hers.page.reload();
  await hers.page.getByRole('button', { name: 'Sign in' }).waitFor();
  await hers.context.close();
  await page.getByRole('button', { name: 'ann', exact: true }).click();
  await form.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('dialog', { name: 'Remove this operator?' }).getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('row', { name: /^ann/ }).waitFor({ state: 'detached' });

  // two tabs with the same key: who comes second is told, and may read again or overwrite
  const id = '0a1b2c3f';
  const labelled = async () => (await read(`/sluice/v1/keys/${id}`)).label;
  const before = await labelled();
  const other = await context.newPage();
  const edit = async (tab) => {
    await Promise.all([tab.waitForResponse((r) => r.request().method() === 'GET' && r.url().endsWith(`/sluice/v1/keys/${id}`) && r.headers().etag !== undefined), tab.goto(`${origin}/dashboard/keys/${id}`)]);
    return tab.getByRole('dialog').getByRole('textbox', { name: 'Label' });
  };
  const holding = (field, text) => until(async () => (await field.inputValue()) === text);
  const save = (tab) => tab.getByRole('dialog').getByRole('button', { name: 'Save', exact: true }).click();
  const [mine, theirs] = [await edit(page), await edit(other)];
  await theirs.fill('theirs');
  await save(other);
  await other.getByText('Saved: theirs').waitFor();
  await mine.fill('mine');
  await save(page);
  await page.getByRole('alert').getByText('Somebody else changed this meanwhile').waitFor();
  assert.equal(await labelled(), 'theirs');
  const lists = '**/sluice/v1/keys?*';
  await page.route(lists, async (route) => { // the list comes last of all that is read: the form may not begin before it
    await new Promise((then) => { setTimeout(then, 1_000); });
    await route.continue();
  });
  await page.getByRole('button', { name: 'Read again' }).click();
  await holding(mine, 'theirs');
  await page.unroute(lists);
  await theirs.fill('theirs again'); // which goes on from what it saved itself
  await save(other);
  await other.getByText('Saved: theirs again').waitFor();
  await mine.fill('mine');
  await save(page);
  await page.getByRole('button', { name: 'Overwrite' }).click();
  await page.getByText('Saved: mine').waitFor();
  assert.equal(await labelled(), 'mine');

  // a list that was read before somebody changed a key: the form begins with what the key is, not with what the list shows
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('row', { name: /mine/ }).waitFor();
  await page.route(lists, (route) => route.abort());
  await ask('PATCH', `/sluice/v1/keys/${id}`, { label: 'from elsewhere' });
  await page.unroute(lists);
  await page.getByRole('row', { name: /mine/ }).click();
  await holding(mine, 'from elsewhere');
  await mine.fill(before);
  await save(page);
  await page.getByText(`Saved: ${before}`).waitFor();
  await other.close();
}
