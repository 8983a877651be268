// The frame: who is signed in, the pages, and how to get from one to another.
import { ActionIcon, Alert, AppShell, Box, Burger, Group, Loader, Menu, ScrollArea, Text, Tooltip, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import { useDisclosure, useHotkeys } from '@mantine/hooks';
import { IconBrightness, IconLanguage, IconLogout, IconPlugConnectedX, IconRipple, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useEffect, useState } from 'react';
import { Link, Redirect, Route, Switch, useLocation } from 'wouter';
import { ApiError, api, onSignedOut, take } from './api/client';
import { useIsAway } from './api/reach';
import { signOut } from './api/session';
import { type Language, languages, useSpeech, useWords } from './i18n';
import { Boundary } from './parts/boundary';
import { Palette } from './parts/palette';
import { Failure } from './parts/pieces';
import { SignIn } from './pages/sign-in';
import { groups, places } from './places';

const Start = lazy(() => import('./pages/start'));

/** Whether the server takes us is asked once; afterwards any refusal leads back to the form. */
export function App() {
  const [isOver, setOver] = useState(false);
  const [entered, setEntered] = useState(0);
  const asked = useQuery({
    queryKey: ['entry', entered], retry: false, staleTime: Infinity,
    queryFn: async () => {
      try {
        return { isIn: true, who: await take(api.GET('/sluice/v1/session')) };
      } catch (e) {
        if (e instanceof ApiError && (e.status === 401 || e.status === 403)) return { isIn: false, who: null };
        throw e;
      }
    },
  });
  useEffect(() => onSignedOut(() => setOver(true)), []);
  if (asked.error) return <Box p="xl"><Failure error={asked.error} retry={() => void asked.refetch()} /></Box>;
  if (!asked.data) return <Group justify="center" pt="20vh"><Loader /></Group>;
  if (!asked.data.isIn || isOver)
    return <SignIn isOver={isOver && asked.data.isIn} onDone={() => { setOver(false); setEntered((n) => n + 1); }} />;
  return <Frame name={asked.data.who?.name ?? ''} onSignOut={() => void signOut().catch(() => undefined).finally(() => setEntered((n) => n + 1))} />;
}

function Frame({ name, onSignOut }: { name: string; onSignOut: () => void }) {
  const words = useWords();
  const [isMenuOpen, menu] = useDisclosure();
  const [isPaletteOpen, palette] = useDisclosure();
  const [location] = useLocation();
  useHotkeys([['mod+K', palette.toggle]], []);
  const isAt = (path: string) => (path === '/' ? location === '/' : location === path || location.startsWith(`${path}/`));
  return (
    <AppShell layout="alt" header={{ height: { base: 48, sm: 0 } }} navbar={{ width: 216, breakpoint: 'sm', collapsed: { mobile: !isMenuOpen } }} padding={{ base: 'sm', sm: 'lg' }}>
      <a href="#content" className="skip">{words.skip}</a>
      <AppShell.Header px="sm" hiddenFrom="sm">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={isMenuOpen} onClick={menu.toggle} size="sm" aria-label={words.menu} />
            <span className="brand"><IconRipple size={20} aria-hidden />sluice</span>
          </Group>
          <ActionIcon variant="subtle" color="gray" size={32} onClick={palette.open} aria-label={words.search}><IconSearch size={18} /></ActionIcon>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" className="shell-side" aria-label={words.pages}>
        <Group justify="space-between" wrap="nowrap" h={36} px={6} mb={8}>
          <span className="brand"><IconRipple size={22} aria-hidden />sluice</span>
          <Burger opened onClick={menu.close} size="sm" hiddenFrom="sm" aria-label={words.close} />
        </Group>
        <UnstyledButton className="finder" onClick={palette.open} visibleFrom="sm"><IconSearch size={14} aria-hidden />{words.search}<kbd>Ctrl K</kbd></UnstyledButton>
        <ScrollArea flex={1} type="never">
          {groups.map((group) => (
            <div key={group}>
              {group !== 'top' && <div className="nav-group">{words[group]}</div>}
              {group === 'top' && <Box h={10} />}
              {places.filter((p) => p.group === group).map(({ path, word, icon: Icon }) => (
                <Link key={path} href={path} className="nav-link" onClick={menu.close} data-active={isAt(path) || undefined} aria-current={isAt(path) ? 'page' : undefined}>
                  <Icon size={17} />{words[word]}
                </Link>
              ))}
            </div>
          ))}
        </ScrollArea>
        <Group gap={2} wrap="nowrap" px={4} pt={8}>
          <SchemeMenu />
          <LanguageMenu />
          <Text size="xs" c="dimmed" className="ell" flex={1} ta="right" pr={4} title={name}>{name}</Text>
          <Tooltip label={name ? `${words.signOut} (${name})` : words.signOut}>
            <ActionIcon variant="subtle" color="gray" size={30} onClick={onSignOut} aria-label={words.signOut}><IconLogout size={17} /></ActionIcon>
          </Tooltip>
        </Group>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <Box maw={1760} mx="auto">
          <Reach />
          <Boundary key={location.split('/')[1] ?? ''}>
            <Suspense fallback={<Loader size="sm" />}>
              <Switch>
                {places.map(({ path, page }) => <Route key={path} path={path === '/' ? path : `${path}/:rest?`} component={page} />)}
                <Route path="/start" component={Start} />
                <Route><Redirect to="/" /></Route>
              </Switch>
            </Suspense>
          </Boundary>
        </Box>
      </AppShell.Main>
      <Palette opened={isPaletteOpen} onClose={palette.close} onSignOut={onSignOut} />
    </AppShell>
  );
}

/** Says so while the server cannot be reached, and has everything asked again once it is back. */
function Reach() {
  const words = useWords();
  const isAway = useIsAway();
  return isAway ? <Alert color="orange" variant="light" mb="md" icon={<IconPlugConnectedX />} title={words.away} role="status">{words.awayHint}</Alert> : null;
}

function SchemeMenu() {
  const words = useWords();
  const { setColorScheme } = useMantineColorScheme();
  return (
    <Menu position="top-start">
      <Menu.Target><ActionIcon variant="subtle" color="gray" size={30} aria-label={words.scheme}><IconBrightness size={17} /></ActionIcon></Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => setColorScheme('light')}>{words.light}</Menu.Item>
        <Menu.Item onClick={() => setColorScheme('dark')}>{words.dark}</Menu.Item>
        <Menu.Item onClick={() => setColorScheme('auto')}>{words.system}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function LanguageMenu() {
  const { words, speak } = useSpeech();
  return (
    <Menu position="top-start">
      <Menu.Target><ActionIcon variant="subtle" color="gray" size={30} aria-label={words.language}><IconLanguage size={17} /></ActionIcon></Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(languages) as Language[]).map((l) => <Menu.Item key={l} onClick={() => speak(l)}>{languages[l].name}</Menu.Item>)}
      </Menu.Dropdown>
    </Menu>
  );
}
