// The frame: who is signed in, the pages, and how to get from one to another.
import { ActionIcon, AppShell, Box, Burger, Button, Group, Loader, Menu, NavLink, ScrollArea, Text, Tooltip, useMantineColorScheme } from '@mantine/core';
import { useDisclosure, useHotkeys } from '@mantine/hooks';
import { IconBrightness, IconLanguage, IconLogout, IconRipple, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Suspense, useEffect, useState } from 'react';
import { Link, Redirect, Route, Switch, useLocation } from 'wouter';
import { ApiError, api, onSignedOut, take } from './api/client';
import { signOut } from './api/session';
import { type Language, languages, useSpeech, useWords } from './i18n';
import { Boundary } from './parts/boundary';
import { Palette } from './parts/palette';
import { Failure } from './parts/pieces';
import { SignIn } from './pages/sign-in';
import { places } from './places';

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
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 208, breakpoint: 'sm', collapsed: { mobile: !isMenuOpen } }} padding="md">
      <a href="#content" className="skip">{words.skip}</a>
      <AppShell.Header px="md">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={isMenuOpen} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label={words.menu} />
            <IconRipple size={22} aria-hidden />
            <Text fw={700}>sluice</Text>
          </Group>
          <Group gap={6} wrap="nowrap">
            <Button variant="default" size="xs" leftSection={<IconSearch size={14} />} onClick={palette.open} visibleFrom="xs">
              {words.search}<Text span size="xs" c="dimmed" ml={8}>Ctrl K</Text>
            </Button>
            <ActionIcon variant="default" size={30} hiddenFrom="xs" onClick={palette.open} aria-label={words.search}><IconSearch size={16} /></ActionIcon>
            <SchemeMenu />
            <LanguageMenu />
            <Tooltip label={name ? `${words.signOut} (${name})` : words.signOut}>
              <ActionIcon variant="default" size={30} onClick={onSignOut} aria-label={words.signOut}><IconLogout size={16} /></ActionIcon>
            </Tooltip>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs">
        <ScrollArea>
          {places.map(({ path, word, icon: Icon }) => (
            <NavLink key={path} component={Link} href={path} label={words[word]} leftSection={<Icon size={18} />} onClick={menu.close}
              active={path === '/' ? location === '/' : location.startsWith(path)} aria-current={location === path ? 'page' : undefined} />
          ))}
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <Box maw={1480} mx="auto">
          <Boundary key={location.split('/')[1] ?? ''}>
            <Suspense fallback={<Loader size="sm" />}>
              <Switch>
                {places.map(({ path, page }) => <Route key={path} path={path === '/' ? path : `${path}/:rest?`} component={page} />)}
                <Route><Redirect to="/" /></Route>
              </Switch>
            </Suspense>
          </Boundary>
        </Box>
      </AppShell.Main>
      <Palette opened={isPaletteOpen} onClose={palette.close} />
    </AppShell>
  );
}

function SchemeMenu() {
  const words = useWords();
  const { setColorScheme } = useMantineColorScheme();
  return (
    <Menu position="bottom-end">
      <Menu.Target><ActionIcon variant="default" size={30} aria-label={words.scheme}><IconBrightness size={16} /></ActionIcon></Menu.Target>
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
    <Menu position="bottom-end">
      <Menu.Target><ActionIcon variant="default" size={30} aria-label={words.language}><IconLanguage size={16} /></ActionIcon></Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(languages) as Language[]).map((l) => <Menu.Item key={l} onClick={() => speak(l)}>{languages[l].name}</Menu.Item>)}
      </Menu.Dropdown>
    </Menu>
  );
}
