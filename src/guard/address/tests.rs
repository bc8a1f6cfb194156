use super::*;
use crate::guard::tests::{code, listing, operator, private, tenant};

fn https(ip: &str, policy: &Policy) -> &'static str {
    code(check_address(SocketAddr::new(ip.parse().expect("an address"), 443), Scheme::Https, policy))
}

fn at(address: &str, scheme: Scheme, policy: &Policy) -> &'static str {
    code(check_address(address.parse().expect("an address"), scheme, policy))
}

/// First and last address of a range, and the neighbours on both sides.
fn edges(range: &Cidr) -> ([IpAddr; 2], Vec<IpAddr>) {
    let (width, low) = match range.address {
        IpAddr::V4(ip) => (32, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (128, ip.to_bits()),
    };
    let high = low | ((1u128 << (width - u32::from(range.prefix))) - 1);
    let ip = |bits: u128| match range.address {
        IpAddr::V4(_) => u32::try_from(bits).ok().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        IpAddr::V6(_) => Some(IpAddr::V6(Ipv6Addr::from_bits(bits))),
    };
    let outside = [low.checked_sub(1), high.checked_add(1)].into_iter().flatten().filter_map(ip).collect();
    ([ip(low).expect("in range"), ip(high).expect("in range")], outside)
}

#[test]
fn every_range_ends_where_it_says() {
    for range in NEVER.iter().chain(&PRIVATE).chain([&GLOBAL_UNICAST]) {
        let (inside, outside) = edges(range);
        for ip in inside {
            assert!(contains(range, ip), "{ip} in {range:?}");
        }
        for ip in outside {
            assert!(!contains(range, ip), "{ip} not in {range:?}");
        }
    }
}

#[test]
fn addresses_that_are_never_reached_are_refused_under_every_policy() {
    let never = [
        "0.0.0.0",
        "0.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.31.196.0",
        "192.31.196.255",
        "192.52.193.0",
        "192.52.193.255",
        "192.88.99.0",
        "192.88.99.255",
        "192.175.48.0",
        "192.175.48.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "::",
        "::2",
        "::127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9a:ffff::",
        "64:ff9b::1:0:0",
        "64:ff9b:1::1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::100.64.0.1",
        "64:ff9b::100.100.100.200",
        "100::",
        "100::1",
        "1fff:ffff::",
        "4000::",
        "5f00::1",
        "8000::",
        "fbff:ffff::1",
        "fe00::",
        "fe80::",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1",
        "ff00::",
        "ff02::1",
        "ffff::",
        "2001::",
        "2001:0:4136:e378::1",
        "2001:1ff:ffff:ffff::",
        "2001:20::1",
        "2001:2::1",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::",
        "2002:7f00:1::",
        "2002:ffff::",
        "2620:4f:8000::",
        "2620:4f:8000:ffff::1",
        "3fff::",
        "3fff:fff::1",
        "fd00:ec2::254",
        "fd00:ec2:ffff::",
        "fd20:ce::254",
        "2606:4700::5efe:a00:1",
        "2606:4700::200:5efe:a00:1",
        "fd00::5efe:a00:1",
        "fd00::200:5efe:808:808",
        "fe80::5efe:1.2.3.4",
    ];
    for ip in never {
        for policy in [operator(), private(), tenant(false), tenant(true), listing(&["0.0.0.0/8", "2000::/7"])] {
            assert_eq!(https(ip, &policy), "ssrf.addr_never", "{ip}");
        }
    }
}

#[test]
fn the_neighbours_of_those_ranges_are_public() {
    let public = [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.1.255",
        "192.0.3.0",
        "192.31.195.255",
        "192.31.197.0",
        "192.52.192.255",
        "192.52.194.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "192.175.47.255",
        "192.175.49.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2000:ffff::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "2620:4f:7fff::",
        "2620:4f:8001::",
        "3ffe:ffff::",
        "3fff:1000::",
        "3fff:ffff:ffff::",
        "64:ff9b::8.8.8.8",
        "64:ff9b::1.0.0.0",
        "2606:4700::100:5efe:a00:1",
        "2606:4700::300:5efe:a00:1",
        "2606:4700::5eff:a00:1",
        "2606:4700:0:5efe::1",
    ];
    for ip in public {
        for policy in [operator(), private(), tenant(false), tenant(true)] {
            assert_eq!(https(ip, &policy), "allow", "{ip}");
        }
        assert_eq!(
            at(&SocketAddr::new(ip.parse().expect("an address"), 80).to_string(), Scheme::Http, &private()),
            "ssrf.addr_public_cleartext"
        );
    }
}

#[test]
fn private_addresses_need_an_opt_in() {
    let private_ips = [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "fc00::",
        "fcff::1",
        "fd00::1",
        "fd00:ec1:ffff::",
        "fd00:ec3::",
        "fd20:cd:ffff::",
        "fd20:cf::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    for ip in private_ips {
        for (policy, expected) in
            [(operator(), "ssrf.addr_private"), (tenant(false), "ssrf.addr_private"), (private(), "allow"), (tenant(true), "allow")]
        {
            assert_eq!(https(ip, &policy), expected, "{ip}");
        }
    }
}

#[test]
fn loopback_is_for_operators_alone() {
    for ip in ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"] {
        for (policy, expected) in [
            (operator(), "ssrf.addr_private"),
            (tenant(true), "ssrf.addr_private"),
            (private(), "allow"),
            (listing(&["127.0.0.0/8", "::1/128"]), "allow"),
        ] {
            assert_eq!(https(ip, &policy), expected, "{ip}");
        }
    }
}

#[test]
fn carrier_grade_nat_must_be_listed() {
    for ip in ["100.64.0.0", "100.127.255.255"] {
        for (policy, expected) in [
            (operator(), "ssrf.addr_private"),
            (private(), "ssrf.addr_not_listed"),
            (tenant(true), "ssrf.addr_not_listed"),
            (listing(&["10.0.0.0/8"]), "ssrf.addr_not_listed"),
            (listing(&["10.0.0.0/8", "100.64.0.0/10"]), "allow"),
        ] {
            assert_eq!(https(ip, &policy), expected, "{ip}");
        }
    }
}

#[test]
fn listed_ranges_exclude_all_others_public_ones_too() {
    let policy = listing(&["10.20.0.0/16", "fd00:1::/32"]);
    for (ip, expected) in [
        ("10.20.0.0", "allow"),
        ("10.20.255.255", "allow"),
        ("10.19.255.255", "ssrf.addr_not_listed"),
        ("10.21.0.0", "ssrf.addr_not_listed"),
        ("8.8.8.8", "ssrf.addr_not_listed"),
        ("127.0.0.1", "ssrf.addr_not_listed"),
        ("fd00:1::1", "allow"),
        ("fd00:2::1", "ssrf.addr_not_listed"),
        ("2606:4700::1", "ssrf.addr_not_listed"),
        ("64:ff9b::8.8.8.8", "ssrf.addr_not_listed"),
        ("169.254.169.254", "ssrf.addr_never"),
    ] {
        assert_eq!(https(ip, &policy), expected, "{ip}");
    }
    assert_eq!(at("8.8.8.8:80", Scheme::Http, &policy), "ssrf.addr_not_listed");
    assert_eq!(at("8.8.8.8:80", Scheme::Http, &listing(&["8.0.0.0/8"])), "ssrf.addr_public_cleartext");
}

#[test]
fn listed_ranges_mean_nothing_without_the_opt_in() {
    let reach = crate::guard::NetworkAccess {
        allow_private: false,
        ..match listing(&["10.0.0.0/8"]).source {
            crate::guard::Source::Operator(reach) => reach,
            crate::guard::Source::TenantUrl { .. } => unreachable!("an operator's policy"),
        }
    };
    let policy = Policy { source: crate::guard::Source::Operator(reach), self_listen: SelfListen::default() };
    assert_eq!(https("10.0.0.1", &policy), "ssrf.addr_private");
    assert_eq!(https("8.8.8.8", &policy), "allow");
}

#[test]
fn a_range_given_by_an_address_inside_it_counts_its_leading_bits_alone() {
    let policy = listing(&["10.20.30.40/16"]);
    assert_eq!(https("10.20.0.1", &policy), "allow");
    let everything = Cidr { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 0 };
    assert!(contains(&everything, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))) && !contains(&everything, IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let overlong = Cidr { address: IpAddr::V4(Ipv4Addr::LOCALHOST), prefix: 200 };
    assert!(contains(&overlong, IpAddr::V4(Ipv4Addr::LOCALHOST)) && !contains(&overlong, IpAddr::V4(Ipv4Addr::BROADCAST)));
}

#[test]
fn our_own_listeners_are_not_reached() {
    let listening = |listener: &str| {
        let interfaces = vec!["10.1.2.3".parse().expect("an address"), "fd00::3".parse().expect("an address")];
        Policy { self_listen: SelfListen { listeners: vec![listener.parse().expect("an address")], interfaces }, ..private() }
    };
    for (listener, own, other) in [
        ("127.0.0.1:8080", vec!["127.0.0.1:8080"], vec!["127.0.0.2:8080", "127.0.0.1:8081", "10.1.2.3:8080", "[::1]:8080"]),
        ("10.1.2.3:8080", vec!["10.1.2.3:8080"], vec!["127.0.0.1:8080", "10.1.2.4:8080"]),
        ("[::ffff:10.1.2.3]:8080", vec!["10.1.2.3:8080"], vec!["10.1.2.4:8080"]),
        (
            "0.0.0.0:8080",
            vec!["127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080", "10.1.2.3:8080", "[fd00::3]:8080"],
            vec!["10.1.2.4:8080", "127.0.0.1:80"],
        ),
        ("[::]:8080", vec!["127.0.0.1:8080", "[::1]:8080", "10.1.2.3:8080", "[fd00::3]:8080"], vec!["[fd00::4]:8080", "10.1.2.3:8081"]),
    ] {
        let policy = listening(listener);
        for address in own {
            assert_eq!(at(address, Scheme::Http, &policy), "ssrf.self", "{address} by {listener}");
        }
        for address in other {
            assert_eq!(at(address, Scheme::Http, &policy), "allow", "{address} by {listener}");
        }
    }
    let public = Policy {
        self_listen: SelfListen { listeners: vec!["8.8.8.8:443".parse().expect("an address")], interfaces: Vec::new() },
        ..operator()
    };
    assert_eq!(https("8.8.8.8", &public), "ssrf.self");
    assert_eq!(https("64:ff9b::8.8.8.8", &public), "ssrf.self");
    let before_the_list = Policy { self_listen: listening("127.0.0.1:443").self_listen, ..listing(&["10.0.0.0/8"]) };
    assert_eq!(https("127.0.0.1", &before_the_list), "ssrf.self");
    assert_eq!(https("127.0.0.1", &Policy { self_listen: before_the_list.self_listen, ..operator() }), "ssrf.addr_private");
}

#[test]
fn a_scoped_address_is_never_reached() {
    let scoped = SocketAddr::V6(std::net::SocketAddrV6::new("2606:4700::1".parse().expect("an address"), 443, 0, 2));
    assert_eq!(code(check_address(scoped, Scheme::Https, &private())), "ssrf.addr_never");
}
