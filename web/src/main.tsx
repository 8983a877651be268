import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './style.css';
import { MantineProvider, mergeThemeOverrides } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { MutationCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { setNonce } from 'get-nonce';
import { type ReactNode, StrictMode, useMemo } from 'react';
import { createRoot } from 'react-dom/client';
import { Router } from 'wouter';
import { ApiError, dashboardUrl } from './api/client';
import { App } from './app';
import { Speaking, useWords } from './i18n';
import { theme, variables } from './theme';

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? '';
setNonce(nonce); // for the styles that hold the page still behind a dialog
const queries: QueryClient = new QueryClient({
  defaultOptions: {
    mutations: { networkMode: 'always' },
    queries: {
      networkMode: 'always', // the server may be this machine, whatever the browser thinks of the network
      staleTime: 5_000,
      retry: (times, error) => !(error instanceof ApiError && error.status < 500) && times < 2,
    },
  },
  // Whatever was changed, every list may show it.
  mutationCache: new MutationCache({ onSuccess: () => void queries.invalidateQueries() }),
});

/** The theme, with the names of buttons that have no text in the viewer's language. */
function Themed({ children }: { children: ReactNode }) {
  const { close } = useWords();
  const spoken = useMemo(() => {
    const named = { defaultProps: { closeButtonProps: { 'aria-label': close } } };
    return mergeThemeOverrides(theme, { components: { Modal: named, Drawer: named, Notification: named } });
  }, [close]);
  return <MantineProvider theme={spoken} cssVariablesResolver={variables} defaultColorScheme="auto" getStyleNonce={() => nonce}>{children}</MantineProvider>;
}

const root = document.getElementById('root');
if (!root) throw new Error('the page has no #root');
createRoot(root).render(
  <StrictMode>
    <Speaking>
      <Themed>
        <QueryClientProvider client={queries}>
          <Notifications position="bottom-right" />
          <Router base={dashboardUrl.pathname.replace(/\/$/, '')}><App /></Router>
        </QueryClientProvider>
      </Themed>
    </Speaking>
  </StrictMode>,
);
