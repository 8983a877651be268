import { createTheme, type CSSVariablesResolver } from '@mantine/core';

export const theme = createTheme({
  primaryColor: 'cyan',
  primaryShade: 9,
  defaultRadius: 'md',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Code", "DejaVu Sans Mono", monospace',
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.25rem' },
  headings: { fontWeight: '650', sizes: { h1: { fontSize: '1.25rem', lineHeight: '1.4' }, h2: { fontSize: '1rem', lineHeight: '1.4' }, h3: { fontSize: '0.875rem', lineHeight: '1.4' } } },
  cursorType: 'pointer',
  respectReducedMotion: true,
  // Named by their ids, so that the first screen does not carry what it does not draw.
  components: {
    Paper: { defaultProps: { radius: 'md' } },
    Card: { defaultProps: { bg: 'var(--mantine-color-body)' } },
    Badge: { defaultProps: { radius: 'sm', tt: 'none', fw: 600 } },
    Button: { defaultProps: { fw: 550 } },
    Table: { defaultProps: { highlightOnHoverColor: 'var(--hover)' } },
    TableScrollContainer: { defaultProps: { scrollAreaProps: { viewportProps: { tabIndex: 0 } } } }, // what scrolls is reached with the keyboard
    Tooltip: { defaultProps: { openDelay: 250, withArrow: true, multiline: true, maw: 360 } },
    // What is closed is gone at once, and does not wait for the frames of a slide: closed while it opened, it would stay in the way, unseen.
    Modal: { defaultProps: { overlayProps: { backgroundOpacity: 0.45 }, transitionProps: { duration: 120, exitDuration: 0 } } },
  },
});

// The library's quiet texts are too pale for WCAG AA (4.5 : 1): dimmed ones, and those on a light tint of their own colour.
export const variables: CSSVariablesResolver = (t) => {
  const tinted = (make: (name: string) => string) => Object.fromEntries(Object.keys(t.colors).map((name) => [`--mantine-color-${name}-light-color`, make(name)]));
  const grounds = (end: string, percent: number) => Object.fromEntries(Object.keys(t.colors).map((name) => [`--mantine-color-${name}-light${end}`, `color-mix(in srgb, var(--mantine-color-${name}-6) ${percent}%, transparent)`]));
  const series = (colors: string[], rest: string) => Object.fromEntries([...colors.map((c, i) => [`--series-${i + 1}`, c]), ['--series-rest', rest]]);
  return {
    variables: {},
    light: {
      '--mantine-color-body': '#fff', '--mantine-color-default-border': '#e1e5ea', '--mantine-color-text': '#1b2026',
      '--mantine-color-dimmed': '#5b6572', '--mantine-color-error': t.colors.red[9], '--ground': '#f6f7f9', '--hover': '#f3f5f8', '--strong-border': '#cfd5dc',
      '--fine': '#0a7d6c', '--bad': '#c92a2a', '--warn': '#8a4f00', '--fine-text': '#075e50', '--bad-text': '#ad2020', '--warn-text': '#7a4600', '--kept': '#0a7d6c', '--mapped': '#1864ab', '--dropped': '#c92a2a', '--added': '#862e9c', '--uncompared': '#868e96',
      ...series(['#1971c2', '#0ca678', '#e8590c', '#9c36b5', '#e0a800', '#d6336c', '#5c7cfa', '#66a80f'], '#868e96'),
      ...tinted((name) => `color-mix(in srgb, var(--mantine-color-${name}-9) 75%, black)`),
    },
    dark: {
      '--mantine-color-body': '#17191d', '--mantine-color-default-border': '#2a2e35', '--mantine-color-text': '#d9dee5', '--mantine-color-default': '#1d2025',
      '--mantine-color-dimmed': '#98a2af', '--mantine-color-error': t.colors.red[4], '--ground': '#0f1114', '--hover': '#1e2126', '--strong-border': '#3a4049',
      '--fine': '#3bc9a7', '--bad': '#ff8787', '--warn': '#ffc078', '--fine-text': '#3bc9a7', '--bad-text': '#ff8787', '--warn-text': '#ffc078', '--kept': '#3bc9a7', '--mapped': '#74c0fc', '--dropped': '#ff8787', '--added': '#e599f7', '--uncompared': '#868e96',
      ...series(['#4dabf7', '#38d9a9', '#ff922b', '#da77f2', '#ffd43b', '#f783ac', '#91a7ff', '#a9e34b'], '#868e96'),
      ...tinted((name) => `var(--mantine-color-${name}-2)`),
      ...grounds('', 18), ...grounds('-hover', 25),
    },
  };
};
