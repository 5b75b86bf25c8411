use std::collections::HashMap;

use palinode_pb::order::v1::order_service_server::OrderService;
use palinode_pb::order::v1::{ListOrdersRequest, OrderSort, OrderStatus};
use palinode_rpc::{Failure, call_of};

use super::quotes::order;
use super::*;
use crate::app::watch::Watchers;
use crate::rpc::{Answers, Orders};

/// Orders of alice and bob, by the numbers in which they were placed.
struct Shop {
    world: World,
    orders: Orders,
    numbers: HashMap<String, usize>,
    totals: Vec<i64>,
}

impl Shop {
    /// Twelve orders of alice's, of three totals, every third of them rejected and one confirmed; then one
    /// of bob's, which is rejected too.
    async fn open() -> Self {
        let mut world = World::new().await;
        world.clock = Clock::manual("2026-11-21T12:00:00Z".parse().unwrap());
        let mut shop = Self {
            orders: Orders {
                desk: world.desk(),
                counter: counter().0,
                orchestrator: orchestrator(Vec::new()).await.0,
                answers: Answers::new(world.db.clone(), Watchers::default()),
            },
            numbers: HashMap::new(),
            totals: Vec::new(),
            world,
        };
        for number in 0..12 {
            shop.place("alice", number, [2, 1, 3][number / 2 % 3]).await;
        }
        shop.place("bob", 12, 1).await;
        shop
    }

    async fn place(&mut self, user: &str, number: usize, pieces: i32) {
        let request = Request {
            user: user.parse().unwrap(),
            ..request(&[("mug", pieces)])
        };
        // ids are drawn in the order of time, by milliseconds
        let clock = &self.world.clock;
        clock.set(clock.now() + Duration::from_millis(1));
        let order = order(self.world.place(&request, None).await);
        self.numbers.insert(order.id.to_string(), number);
        self.totals.push(order.total.minor);
        let decision = match number {
            1 => Decision::Confirm(Fulfilment {
                payment_id: PaymentId::new(&self.world.clock),
                shipment_id: ShipmentId::new(&self.world.clock),
            }),
            _ if number.is_multiple_of(3) => Decision::Reject {
                reason: "OUT_OF_STOCK".to_owned(),
                detail: String::new(),
            },
            _ => return,
        };
        self.world.decide(&[(order.id, decision)]).await;
    }

    /// A page, as numbers of orders, and the token of the next one; or the field that is wrong.
    async fn page(
        &self,
        caller: &Caller,
        request: ListOrdersRequest,
    ) -> Result<(Vec<usize>, String), String> {
        let call = call_of(caller.clone(), request);
        let answer = self.orders.list_orders(call).await;
        let answer = answer.map_err(|status| {
            assert_eq!(Failure::from(&status).reason, "INVALID_REQUEST");
            let details = String::from_utf8_lossy(status.details()).into_owned();
            let fields = ["page_token", "user_id"].into_iter();
            let named = fields.filter(|field| details.contains(field));
            named.collect::<String>()
        })?;
        let answer = answer.into_inner();
        let orders = answer.orders.iter();
        let numbers = orders.map(|order| self.numbers[&order.order_id]);
        Ok((numbers.collect(), answer.next_page_token))
    }

    /// Page by page, until there are no more.
    async fn all(&self, caller: &Caller, request: &ListOrdersRequest, size: i32) -> Vec<usize> {
        let (mut all, mut request) = (Vec::new(), request.clone());
        request.page_size = size;
        loop {
            let (page, next) = self.page(caller, request.clone()).await.unwrap();
            all.extend(page);
            if next.is_empty() {
                return all;
            }
            request.page_token = next;
        }
    }
}

fn alice() -> Caller {
    Caller::customer("alice".parse().unwrap())
}

/// One who sees everybody's orders.
fn staff() -> Caller {
    Caller {
        sees_all: true,
        ..Caller::customer("staff".parse().unwrap())
    }
}

const SORTS: [OrderSort; 5] = [
    OrderSort::Unspecified,
    OrderSort::Newest,
    OrderSort::Oldest,
    OrderSort::Total,
    OrderSort::TotalDescending,
];

const STATUSES: [OrderStatus; 5] = [
    OrderStatus::Unspecified,
    OrderStatus::Pending,
    OrderStatus::Confirmed,
    OrderStatus::Rejected,
    OrderStatus::Cancelled,
];

fn asking(sort: OrderSort, status: OrderStatus) -> ListOrdersRequest {
    ListOrdersRequest {
        sort: sort.into(),
        status: status.into(),
        ..ListOrdersRequest::default()
    }
}

fn is_in(status: OrderStatus, number: usize) -> bool {
    match status {
        OrderStatus::Unspecified => true,
        OrderStatus::Confirmed => number == 1,
        OrderStatus::Rejected => number.is_multiple_of(3),
        OrderStatus::Pending => number != 1 && !number.is_multiple_of(3),
        OrderStatus::Cancelling | OrderStatus::Cancelled => false,
    }
}

#[tokio::test]
async fn pages_of_every_sort_and_filter_have_each_order_once_whatever_their_size() {
    let shop = Shop::open().await;
    for (caller, count) in [(alice(), 12), (staff(), 13)] {
        for (sort, status) in SORTS
            .iter()
            .flat_map(|sort| STATUSES.map(|status| (*sort, status)))
        {
            let mut request = asking(sort, status);
            let mut expected: Vec<usize> = (0..count).filter(|n| is_in(status, *n)).collect();
            if matches!(sort, OrderSort::Total | OrderSort::TotalDescending) {
                if caller.sees_all {
                    let refused = shop.page(&caller, request.clone()).await;
                    assert_eq!(refused, Err("user_id".to_owned()));
                    request.user_id = "alice".to_owned();
                    expected.retain(|number| *number < 12);
                }
                // of equal totals the older first
                expected.sort_by_key(|number| (shop.totals[*number], *number));
            }
            if !matches!(sort, OrderSort::Oldest | OrderSort::Total) {
                expected.reverse();
            }
            for size in [1, 2, 3, 100] {
                let all = shop.all(&caller, &request, size).await;
                assert_eq!(all, expected, "{sort:?} {status:?} by {size}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_token_is_good_for_its_filters_and_sort_alone() {
    let shop = Shop::open().await;
    let paged = |mut request: ListOrdersRequest, token: &str| {
        request.page_size = 2;
        request.page_token = token.to_owned();
        request
    };
    let newest = asking(OrderSort::Newest, OrderStatus::Unspecified);
    let first = shop.page(&alice(), paged(newest.clone(), "")).await;
    let (_, token) = first.unwrap();
    // what is said by saying nothing is the same
    let silent = asking(OrderSort::Unspecified, OrderStatus::Unspecified);
    let (page, _) = shop.page(&alice(), paged(silent, &token)).await.unwrap();
    assert_eq!(page, [9, 8]);
    let wrong = Err("page_token".to_owned());
    for other in [
        asking(OrderSort::Oldest, OrderStatus::Unspecified),
        asking(OrderSort::Total, OrderStatus::Unspecified),
        asking(OrderSort::Newest, OrderStatus::Pending),
    ] {
        assert_eq!(shop.page(&alice(), paged(other, &token)).await, wrong);
    }
    let bob = Caller::customer("bob".parse().unwrap());
    for caller in [bob, staff()] {
        let answer = shop.page(&caller, paged(newest.clone(), &token)).await;
        assert_eq!(answer, wrong);
    }
    let id = shop.numbers.keys().next().unwrap();
    for broken in [&token[1..], &token[..token.len() - 1], id, ".", "x"] {
        let answer = shop.page(&alice(), paged(newest.clone(), broken)).await;
        assert_eq!(answer, wrong, "{broken}");
    }
}
