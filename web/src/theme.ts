import { createTheme, type CSSVariablesResolver } from '@mantine/core';

export const theme = createTheme({
  primaryColor: 'cyan',
  primaryShade: 9,
  defaultRadius: 'md',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "Cascadia Code", "DejaVu Sans Mono", monospace',
  cursorType: 'pointer',
  respectReducedMotion: true,
});

// The library's quiet texts are too pale for WCAG AA (4.5 : 1): dimmed ones, and those on a light tint of their own colour.
export const variables: CSSVariablesResolver = (t) => {
  const tinted = (make: (name: string) => string) => Object.fromEntries(Object.keys(t.colors).map((name) => [`--mantine-color-${name}-light-color`, make(name)]));
  return {
    variables: {},
    light: {
      '--mantine-color-dimmed': t.colors.gray[7], '--mantine-color-error': t.colors.red[9],
      ...tinted((name) => `color-mix(in srgb, var(--mantine-color-${name}-9) 75%, black)`),
    },
    dark: { '--mantine-color-dimmed': t.colors.dark[1], '--mantine-color-error': t.colors.red[4], ...tinted((name) => `var(--mantine-color-${name}-2)`) },
  };
};
