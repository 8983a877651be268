// A dialog that is drawn only while it is open, such as the form of an object.
import { Modal, type ModalProps } from '@mantine/core';
import { useFocusBack } from './focus';

export function Dialog(props: Omit<ModalProps, 'opened'>) {
  useFocusBack(true);
  return <Modal opened {...props} />;
}
