use tokio::sync::oneshot;

use crate::producer::{Delivery, Permit};

/// Bits of a row within a page; the page's number stands above them, in one word.
pub(crate) const ROW_BITS: u32 = 16;

/// The pages in flight of one client. A delivery report finds its page by number: no future and no
/// allocation a record.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    pages: Vec<Option<Page>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Page {
    deliveries: Vec<Delivery>,
    /// Rows without a report, and one more while the page is being handed over.
    open: usize,
    done: oneshot::Sender<Vec<Delivery>>,
    _permit: Permit,
}

impl Slab {
    /// A number for a page of `rows`; `done` is told of its end.
    pub(crate) fn open(
        &mut self,
        rows: usize,
        permit: Permit,
        done: oneshot::Sender<Vec<Delivery>>,
    ) -> usize {
        let page = Page {
            deliveries: vec![Delivery::Unsent; rows],
            open: rows + 1,
            done,
            _permit: permit,
        };
        let number = self.free.pop().unwrap_or(self.pages.len());
        if number == self.pages.len() {
            self.pages.push(Some(page));
        } else {
            self.pages[number] = Some(page);
        }
        number
    }

    /// Writes down what became of a row.
    pub(crate) fn report(&mut self, number: usize, row: usize, delivery: Delivery) {
        if let Some(page) = self.pages.get_mut(number).and_then(Option::as_mut) {
            page.deliveries[row] = delivery;
        }
        self.settle(number);
    }

    /// The page is handed over: its last report ends it.
    pub(crate) fn close(&mut self, number: usize) {
        self.settle(number);
    }

    fn settle(&mut self, number: usize) {
        let Some(slot) = self.pages.get_mut(number) else {
            return;
        };
        let Some(page) = slot else { return };
        page.open -= 1;
        if page.open == 0
            && let Some(page) = slot.take()
        {
            self.free.push(number);
            // who dropped the future needs no answer
            page.done.send(page.deliveries).ok();
        }
    }
}
