use http::Method;

use super::{Lookup, Trie};
use crate::template::Template;
use crate::uri::BadEscape;

const ROUTES: [(Method, &str); 12] = [
    (Method::GET, "/v1/orders"),
    (Method::POST, "/v1/orders"),
    (Method::GET, "/v1/orders/{id}"),
    (Method::POST, "/v1/orders/{id}:cancel"),
    (Method::GET, "/v1/orders/mine"),
    (Method::PATCH, "/v1/orders/{id}"),
    (Method::GET, "/v1/files/{path=**}"),
    (Method::GET, "/v1/files/index"),
    (Method::POST, "/v1/files/{path=**}:touch"),
    (Method::GET, "/v1/{name=shelves/*/books/*}"),
    (Method::GET, "/v1/tree/{path=a/**}"),
    (Method::DELETE, "/v1/orders/{id}"),
];

fn trie() -> (Trie, Vec<Template>) {
    let mut trie = Trie::default();
    let mut templates = Vec::new();
    for (number, (method, text)) in ROUTES.iter().enumerate() {
        let template = Template::parse(text).unwrap();
        trie.insert(&template, method, number).unwrap();
        templates.push(template);
    }
    (trie, templates)
}

#[test]
fn paths_find_their_route_and_variables() {
    let (trie, templates) = trie();
    let check = |method: Method, path: &str, expect: &str| {
        let line = match trie.find(&method, path) {
            Ok(Lookup::Found(number, segments)) => {
                let mut line = ROUTES[number].1.to_owned();
                for variable in &templates[number].variables {
                    line += &format!(" {}", segments.text(variable).unwrap());
                }
                line
            }
            Ok(Lookup::OtherMethods(methods)) => format!("405 {methods:?}"),
            Ok(Lookup::Nothing) => "404".to_owned(),
            Err(BadEscape) => "400".to_owned(),
        };
        assert_eq!(line, expect, "{method} {path}");
    };
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    check(get.clone(), "/v1/orders", "/v1/orders");
    check(Method::HEAD, "/v1/orders", "/v1/orders");
    check(get.clone(), "/v1/orders/7", "/v1/orders/{id} 7");
    check(get.clone(), "/v1/orders/a%2Fb", "/v1/orders/{id} a/b");
    check(get.clone(), "/v1/orders/mine", "/v1/orders/mine");
    check(patch.clone(), "/v1/orders/mine", "/v1/orders/{id} mine");
    check(
        post.clone(),
        "/v1/orders/7:cancel",
        "/v1/orders/{id}:cancel 7",
    );
    check(get.clone(), "/v1/orders/7:cancel", "405 [OPTIONS, POST]");
    check(
        post.clone(),
        "/v1/orders/a:b:cancel",
        "/v1/orders/{id}:cancel a:b",
    );
    check(get.clone(), "/v1/orders/a:b", "/v1/orders/{id} a:b");
    check(get.clone(), "/v1/orders/a:", "/v1/orders/{id} a:");
    check(
        get.clone(),
        "/v1/orders/a%3Acancel",
        "/v1/orders/{id} a:cancel",
    );
    check(
        Method::PUT,
        "/v1/orders/7",
        "405 [DELETE, GET, HEAD, OPTIONS, PATCH]",
    );
    check(Method::PUT, "/v1/orders", "405 [GET, HEAD, OPTIONS, POST]");
    check(
        get.clone(),
        "/v1/files/a/b%2Fc",
        "/v1/files/{path=**} a/b%2Fc",
    );
    check(get.clone(), "/v1/files", "/v1/files/{path=**} ");
    check(get.clone(), "/v1/files/index", "/v1/files/index");
    check(
        post.clone(),
        "/v1/files/a/b:touch",
        "/v1/files/{path=**}:touch a/b",
    );
    check(
        get.clone(),
        "/v1/shelves/1/books/2",
        "/v1/{name=shelves/*/books/*} shelves/1/books/2",
    );
    check(get.clone(), "/v1/tree/a", "/v1/tree/{path=a/**} a");
    check(get.clone(), "/v1/tree/a/b/c", "/v1/tree/{path=a/**} a/b/c");
    check(get.clone(), "/v1/orders/", "404");
    check(get.clone(), "/v1/files/a//b", "404");
    check(get.clone(), "/v1/nothing", "404");
    check(get.clone(), "/", "404");
    check(get.clone(), "*", "404");
    check(get.clone(), "/v1/orders/7/lines", "404");
    check(get, "/v1/orders/%zz", "400");
}

#[test]
fn two_templates_of_one_shape_are_refused() {
    let (mut trie, _) = trie();
    let mut insert =
        |method: Method, text: &str| trie.insert(&Template::parse(text).unwrap(), &method, 99);
    assert_eq!(insert(Method::GET, "/v1/orders/{other}"), Err(2));
    assert_eq!(insert(Method::GET, "/v1/{name=orders/*}"), Err(2));
    assert_eq!(insert(Method::POST, "/v1/orders/*:cancel"), Err(3));
    assert_eq!(insert(Method::GET, "/v1/files/**"), Err(6));
    assert_eq!(insert(Method::PUT, "/v1/orders/{other}"), Ok(()));
    assert_eq!(insert(Method::GET, "/v1/orders/{id}:cancel"), Ok(()));
}
